"""Sessions: what one holds, and the rule by which a turn is appended; the stores agree on it."""

from typing import Protocol

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """One side's words in a conversation."""

    role: str
    content: str
    tokens: int


class Session(msgspec.Struct, frozen=True, gc=False):
    """A conversation. `version` counts saved turns; with `created_at` it says which state a writer has seen.

    These two come first: the script that saves compares the beginning of the stored text.
    """

    version: int
    created_at: str
    updated_at: str
    model: str
    owner: str | None
    messages: list[Message]


def create_session(model: str, owner: str | None, now: str) -> Session:
    """Returns a session without messages that no store holds yet."""
    return Session(0, now, now, model, owner, [])


def append_turn(session: Session, turn: list[Message], now: str, max_messages: int) -> Session:
    """Returns the session after one more turn, its history cut to the newest `max_messages`."""
    messages = (session.messages + turn)[-max_messages:]
    return Session(session.version + 1, session.created_at, now, session.model, session.owner, messages)


class SessionStore(Protocol):
    """Keeps sessions for a time that each save renews."""

    async def load(self, session_id: str) -> Session | None:
        """Returns the session, or None. Raises StorageUnavailableError."""

    async def append(self, session_id: str, seen: Session, turn: list[Message], now: str) -> bool:
        """Saves `turn` after whatever is stored by now, and returns whether that created the session.

        `seen` is what the writer loaded or created. Raises StorageUnavailableError.
        """

    async def count(self) -> int:
        """Returns the number of live sessions. Raises StorageUnavailableError."""
