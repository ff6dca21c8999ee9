"""Sessions in the memory of one process: for a mock without Redis."""

from collections.abc import Callable

from mock_server.state.sessions import Ahead, Saved, Session, Turn, append_turn

MAX_SESSIONS = 100_000


class MemorySessions:
    """Keeps at most `MAX_SESSIONS`, dropping the one saved longest ago."""

    def __init__(self, monotonic_s: Callable[[], float], ttl_s: int, max_messages: int):
        self._monotonic_s = monotonic_s
        self._ttl_s = ttl_s
        self._max_messages = max_messages
        self._kept: dict[str, tuple[float, Session]] = {}

    def ask(self, session_id: str) -> Ahead | None:
        return None

    async def load(self, session_id: str, ahead: Ahead | None = None) -> Session | None:
        kept = self._kept.get(session_id)
        return kept[1] if kept is not None and kept[0] > self._monotonic_s() else None

    async def append(self, session_id: str, seen: Session, turn: Turn, now: str) -> Saved:
        stored = await self.load(session_id)
        saved = append_turn(stored or seen, turn, now, self._max_messages)
        self._kept.pop(session_id, None)
        self._kept[session_id] = (self._monotonic_s() + self._ttl_s, saved)
        if len(self._kept) > MAX_SESSIONS:
            del self._kept[next(iter(self._kept))]
        return Saved(stored is None)

    def stands_in(self, session_id: str) -> bool:
        return False

    async def count(self) -> int:
        now_s = self._monotonic_s()
        # Saving moves a session to the end, so the expired ones are at the front.
        while self._kept and (first := next(iter(self._kept.items())))[1][0] <= now_s:
            del self._kept[first[0]]
        return len(self._kept)
