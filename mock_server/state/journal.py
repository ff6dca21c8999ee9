"""Turns that memory took while Redis did not answer, until Redis holds them; knows no Redis and reads no clock.

Whether a save that was sent and not answered has been applied cannot be asked, but it can be seen. A save is all
or nothing, and goes only over the state it was computed from: its base, known by `version` and the two times. So if a
save of n turns was applied, Redis holds a session of the same `created_at`, and version base + n is the last of them.
The pair of messages at that version's place says whether that turn is ours, and so does `updated_at`, to a
microsecond, while the stored session is at that very version. If so many followed that the pair has left the history,
ours would have left it too, and nothing is to be done. A save that Redis runs later still, when all has been copied,
finds another state and changes nothing; one that it runs in between makes the copy's own compare-and-set fail, and
what is found then is looked at anew.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from mock_server.state.sessions import Dated, Session, Turn, append_turn, read_messages

MAX_BYTES = 128 * 1024 * 1024
# What a turn and a session take besides their text, roughly, as measured.
_TURN_BYTES = 600
_SESSION_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Attempt:
    """A save of unknown outcome: the first `count` turns of an entry, after `base`."""

    base: Session
    count: int


@dataclass(slots=True, eq=False)
class Entry:
    """A session at risk: `session` is `seen` with all `turns`, none of which Redis is known to hold."""

    seen: Session
    session: Session
    expires_s: float
    turns: list[Dated] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    size_bytes: int = 0
    # Set while the entry is being copied to Redis: its end.
    copied: asyncio.Event | None = None

    def discover(self, found: Session | None) -> bool:
        """Takes over what Redis turned out to hold, and forgets the turns that are in it.

        Returns whether one of the attempts made the session. Nothing found: memory's own state is all there is.
        """
        if found is None:
            return False
        attempts = [attempt for attempt in self.attempts if _is_applied(found, attempt, self.turns)]
        self.seen = found
        if not attempts:
            return False
        # A later attempt begins with the turns of an earlier one: what holds all of them holds those too.
        applied = max(attempts, key=lambda attempt: attempt.count)
        del self.turns[: applied.count]
        self.attempts.clear()
        return not applied.base.version


class Journal:
    """Sessions at risk by id, the one saved longest ago first; bounded by the bytes it takes, about."""

    def __init__(self, ttl_s: int, max_messages: int, max_bytes: int = MAX_BYTES):
        self._ttl_s = ttl_s
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._entries: dict[str, Entry] = {}
        self.size_bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[str]:
        return iter(list(self._entries))

    @property
    def is_full(self) -> bool:
        """Whether it takes no more turns."""
        return self.size_bytes >= self._max_bytes

    def find(self, session_id: str) -> Entry | None:
        """Returns the entry of a session, or None when nothing of it is at risk."""
        return self._entries.get(session_id)

    def add(self, session_id: str, seen: Session, turn: Turn, now: str, now_s: float) -> Entry:
        """Notes a turn: after those noted of the session, else after `seen`."""
        entry = self._entries.pop(session_id, None)
        size_bytes = _TURN_BYTES + 2 * (len(turn.asked.content) + len(turn.answered.content))
        if entry is None:
            entry = Entry(seen, seen, 0.0)
            size_bytes += _SESSION_BYTES + 2 * len(bytes(seen.messages))
        entry.session = append_turn(entry.session, turn, now, self._max_messages)
        entry.turns.append(Dated(turn, now))
        entry.expires_s = now_s + self._ttl_s
        entry.size_bytes += size_bytes
        self.size_bytes += size_bytes
        self._entries[session_id] = entry
        return entry

    def remove(self, session_id: str) -> None:
        """Forgets a session: Redis holds it, or it can never be there."""
        self.size_bytes -= self._entries.pop(session_id).size_bytes

    def drop_expired(self, now_s: float) -> None:
        """Forgets the sessions that would have expired in Redis too."""
        while self._entries and (first := next(iter(self._entries.items())))[1].expires_s <= now_s:
            if first[1].copied is not None:
                return
            self.remove(first[0])


def _is_applied(found: Session, attempt: Attempt, turns: Sequence[Dated]) -> bool:
    version = attempt.base.version + attempt.count
    if found.created_at != attempt.base.created_at or found.version < version:
        return False
    turn, now = turns[attempt.count - 1]
    if found.version == version and found.updated_at != now:
        return False
    try:
        messages = read_messages(found)
    except msgspec.DecodeError:
        return False
    start = len(messages) - 2 * (found.version - version + 1)
    return start < 0 or messages[start : start + 2] == [turn.asked, turn.answered]
