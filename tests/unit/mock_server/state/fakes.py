"""A Redis for one process of a test: what sessions need of it, failing as it is told."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from mock_server.core.outage import Outage
from mock_server.state.link import AwayError
from mock_server.state.sessions import Message, Session, Turn

NOW = "2026-01-01T00:00:00.000000Z"
APPLIED, LOST, LATE = "applied", "lost", "late"


def build_turn(text: str) -> Turn:
    return Turn(Message("user", text), 1, Message("assistant", "answer to " + text), 2)


class FakeRedis:
    """Stands for a Coalescer. `cuts` says what becomes of the next saves; None is nothing.

    The others lose their reply: applied, lost on the way, or applied late (by `deliver`). Replies wait for `gate`.
    """

    def __init__(self, data: dict[str, bytes] | None = None, outage: Outage | None = None):
        self.data: dict[str, bytes] = {} if data is None else data
        self.outage = outage or Outage()
        self.is_up = True
        self.cuts: deque[str | None] = deque()
        self.late: list[Callable[[], None]] = []
        self.gate: asyncio.Event | None = None
        self.saves = 0

    async def execute(self, *parts: Any) -> Any:
        if not self.is_up or self.outage.is_away:
            raise _away(was_sent=False)
        if parts[0] == "GET":
            return self.data.get(parts[1])
        assert parts[0] == "EVALSHA"
        if parts[2] == 1:
            return len(self.data)
        reply = self._save(parts[3], parts[5].encode(), parts[6])
        if self.gate is not None:
            await self.gate.wait()
        return reply

    def _save(self, key: str, expected: bytes, value: bytes) -> Any:
        self.saves += 1
        cut = self.cuts.popleft() if self.cuts else None
        if cut == LATE:
            self.late.append(lambda: self._apply(key, expected, value) and None)
        reply = self._apply(key, expected, value) if cut in (None, APPLIED) else None
        if cut is not None:
            raise _away(was_sent=True)
        return reply

    def _apply(self, key: str, expected: bytes, value: bytes) -> Any:
        stored = self.data.get(key)
        if (stored or b"")[: max(len(expected), 1)] != expected:
            return [0, stored]
        self.data[key] = value
        return 1

    def deliver(self) -> None:
        """Lets saves that were under way all the time arrive."""
        late, self.late = self.late, []
        for apply in late:
            apply()


def _away(was_sent: bool) -> AwayError:
    error = AwayError(retry_after_s=1.0)
    error.was_sent = was_sent
    return error


def asked(stored: bytes | Session | None) -> list[str]:
    """Returns what the user said, in order."""
    if stored is None:
        return []
    session = msgspec.json.decode(stored, type=Session) if isinstance(stored, bytes) else stored
    messages = msgspec.json.decode(session.messages, type=list[Message])
    assert [message.role for message in messages] == ["user", "assistant"] * (len(messages) // 2)
    return [message.content for message in messages if message.role == "user"]
