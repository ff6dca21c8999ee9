"""Sessions: what one holds, and the rule by which a turn is appended; the stores agree on it."""

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import msgspec


class Message(msgspec.Struct, frozen=True, gc=False):
    """One side's words in a conversation."""

    role: str
    content: str


class Turn(msgspec.Struct, frozen=True, gc=False):
    """What one turn adds: what was asked and answered, each with the tokens it counts for."""

    asked: Message
    asked_tokens: int
    answered: Message
    answered_tokens: int


class Dated(NamedTuple):
    """A turn and the time it was taken, as `updated_at` shows it."""

    turn: Turn
    now: str


class Session(msgspec.Struct, frozen=True, gc=False):
    """A conversation. `version` counts saved turns; with the two times it says which state a writer has seen.

    These three come first: the script that saves compares the beginning of the stored text. `messages` is a JSON list
    and stays text, since no turn reads the words of earlier ones; `tokens` has one entry for each of them.
    """

    version: int
    created_at: str
    updated_at: str
    model: str
    owner: str | None
    tokens: list[int]
    messages: msgspec.Raw


class _Head(msgspec.Struct, frozen=True, gc=False):
    """A session without its messages."""

    version: int
    created_at: str
    updated_at: str
    model: str
    owner: str | None
    tokens: list[int]


class Saved(NamedTuple):
    """How a turn was saved: whether that made the session, and whether memory stood in for Redis."""

    is_new: bool
    is_degraded: bool = False


# A session asked for ahead of its turn. What it holds may be one turn old by then: `append` finds that out.
Ahead = asyncio.Future[Any]


def forget(ahead: Ahead | None) -> None:
    """Drops what was asked for ahead and is not wanted, whatever came of it."""
    if ahead is not None and not ahead.cancel() and not ahead.cancelled():
        ahead.exception()


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Session).decode
_decode_messages = msgspec.json.Decoder(list[Message]).decode
_decode_head = msgspec.json.Decoder(_Head).decode
# Inside of a string its quotes would be escaped: only the field itself begins like this.
_MESSAGES = b',"messages":['
# Between two messages, and nowhere else: inside of one, the quotes would be escaped.
_BOUNDARY = b'},{"role":"'


def create_session(model: str, owner: str | None, now: str) -> Session:
    """Returns a session without messages that no store holds yet."""
    return Session(0, now, now, model, owner, [], msgspec.Raw(b"[]"))


def read_session(stored: bytes) -> Session | None:
    """Returns the session a store holds, or None when that is no session."""
    try:
        session = _decode(stored)
    except (msgspec.DecodeError, RecursionError):
        return None
    return session if bytes(session.messages).startswith(b"[") else None


def open_session(stored: bytes) -> Session | None:
    """Returns what `read_session` does of a text this version wrote, without reading its messages.

    No turn looks into them, and they are nine tenths of the text: reading them cost more than the rest of a turn's
    JSON together.
    """
    start = stored.find(_MESSAGES)
    if start < 0 or not stored.endswith(b"]}"):
        return read_session(stored)
    try:
        head = _decode_head(stored[:start] + b"}")
    except (msgspec.DecodeError, RecursionError):
        return None
    messages = msgspec.Raw(stored[start + len(_MESSAGES) - 1 : -1])
    return Session(head.version, head.created_at, head.updated_at, head.model, head.owner, head.tokens, messages)


def append_turn(session: Session, turn: Turn, now: str, max_messages: int) -> Session:
    """Returns the session after one more turn, its history cut to the newest `max_messages`."""
    tokens = [*session.tokens, turn.asked_tokens, turn.answered_tokens]
    surplus = max(0, len(tokens) - max_messages)
    kept = _drop_oldest(bytes(session.messages), surplus)
    added = _encode([turn.asked, turn.answered])
    messages = kept[:-1] + b"," + added[1:] if len(kept) > 2 else added
    return Session(
        session.version + 1,
        session.created_at,
        now,
        session.model,
        session.owner,
        tokens[surplus:],
        msgspec.Raw(messages),
    )


def append_turns(session: Session, turns: Sequence[Dated], max_messages: int) -> Session:
    """Returns the session after all of `turns`, in order, as if appended one by one."""
    # Those that would be cut again at once only count.
    surplus = max(0, len(turns) - (max_messages + 1) // 2)
    for turn, now in turns[surplus:]:
        session = append_turn(session, turn, now, max_messages)
    return msgspec.structs.replace(session, version=session.version + surplus)


def read_messages(session: Session) -> list[Message]:
    """Returns the history, decoded; raises msgspec.DecodeError when it is no list of messages."""
    return _decode_messages(session.messages)


def _drop_oldest(messages: bytes, count: int) -> bytes:
    """Returns the JSON list without its first `count` messages; empty when there are no more than that."""
    start = 0
    for _ in range(count):
        start = messages.find(_BOUNDARY, start + 1)
        if start < 0:
            return b"[]"
    return b"[" + messages[start + 2 :] if count else messages


class SessionStore(Protocol):
    """Keeps sessions for a time that each save renews."""

    def ask(self, session_id: str) -> Ahead | None:
        """Asks for a session that `load` will be asked for, so that waiting for something else costs no second wait.

        None where nothing is gained. Whoever does not hand it to `load` gives it to `forget`.
        """

    async def load(self, session_id: str, ahead: Ahead | None = None) -> Session | None:
        """Returns the session, or None. Raises StorageUnavailableError."""

    async def append(self, session_id: str, seen: Session, turn: Turn, now: str) -> Saved:
        """Saves `turn` after whatever is stored by now.

        `seen` is what the writer loaded or created. Raises SessionNotFoundError when the session has become another
        owner's meanwhile, StorageUnavailableError.
        """

    def stands_in(self, session_id: str) -> bool:
        """Returns whether memory answers for Redis in what is under way on this session."""

    async def count(self) -> int:
        """Returns the number of live sessions. Raises StorageUnavailableError."""
