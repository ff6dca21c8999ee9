"""Brings a worker back to Redis: asks it while it is away, and copies to it what memory took meanwhile."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

from mock_server.errors import StorageUnavailableError
from mock_server.metrics import StorageMetrics
from mock_server.state.coalescer import Coalescer
from mock_server.state.fallback_limiter import FallbackLimiter
from mock_server.state.fallback_sessions import FallbackSessions

_log = logging.getLogger(__name__)

# Between two tries while nothing stands in for Redis, and until what a single failed call left is copied back.
SHORT_INTERVAL_S = 1.0
_LAST_COPY_S = 2.0


class Reconnector:
    """Asks each Redis once at the start, and each `interval_s` while it is away; ends at once when all is well again.

    Without `sessions` and `limiter` nothing stands in for Redis: then it is asked each second, if not more often.
    """

    def __init__(
        self,
        clients: Sequence[Coalescer],
        sessions: FallbackSessions | None,
        limiter: FallbackLimiter | None,
        interval_s: float,
        metrics: StorageMetrics,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ):
        self._clients = clients
        self._sessions = sessions
        self._limiter = limiter
        self._has_fallback = sessions is not None or limiter is not None
        self._interval_s = interval_s if self._has_fallback else min(interval_s, SHORT_INTERVAL_S)
        self._metrics = metrics
        self._sleep = sleep
        self._awake = asyncio.Event()
        self._is_degraded = False
        self._copied = 0
        for client in clients:
            client.on_away = self._on_away
        if sessions is not None:
            sessions.on_risk = self._on_risk

    async def start(self) -> None:
        """Connects to each Redis; one that does not answer is away from the start. Takes a fraction of a second."""
        await asyncio.gather(*(client.start() for client in self._clients))

    async def run(self) -> None:
        """Waits for something to fail, makes it good, and so on until cancelled."""
        while True:
            await self._awake.wait()
            self._awake.clear()
            try:
                await self._recover()
            except Exception:  # noqa: BLE001 - logged: the way back must stay open
                # Without this task a worker would never be back: whatever went wrong, it tries again.
                _log.exception("The way back to Redis failed; next try in an interval")
                self._awake.set()
                await self._sleep(self._interval_s)

    async def finish(self) -> None:
        """Tries once more to copy back, for `_LAST_COPY_S` at most; says what is lost with this process."""
        if self._sessions is None or not self._sessions.at_risk:
            return
        try:
            async with asyncio.timeout(_LAST_COPY_S):
                await self._probe_away()
                await self._copy_back()
        except TimeoutError:
            pass
        if self._sessions.at_risk:
            _log.error("Redis stayed away to the end: sessions with turns that are lost: %d", self._sessions.at_risk)

    async def _recover(self) -> None:
        while True:
            if self._away():
                await self._sleep(self._interval_s)
                await self._probe_away()
            await self._copy_back()
            if self._away():
                continue
            if self._sessions is None or not self._sessions.at_risk:
                break
            await self._sleep(min(self._interval_s, SHORT_INTERVAL_S))
        copied, self._copied = self._copied, 0
        if not self._is_degraded:
            return
        self._is_degraded = False
        if not self._has_fallback:
            _log.warning("Redis is back")
            return
        uncopied = self._sessions.uncopied if self._sessions is not None else 0
        _log.warning(
            "Redis is back; sessions copied to it from memory: %d; not copied, ever, since it holds others: %d",
            copied,
            uncopied,
        )
        if self._limiter is not None:
            self._limiter.forget()
        self._metrics.degraded.set(0)
        self._metrics.recovered.inc()

    async def _probe_away(self) -> None:
        await asyncio.gather(*(self._probe(client) for client in self._away()))

    async def _probe(self, client: Coalescer) -> None:
        try:
            await client.probe()
        except StorageUnavailableError:
            return
        client.outage.end()

    async def _copy_back(self) -> None:
        if self._sessions is not None and self._sessions.at_risk:
            self._copied += await self._sessions.copy_back()

    def _away(self) -> list[Coalescer]:
        return [client for client in self._clients if client.outage.is_away]

    def _on_away(self) -> None:
        self._is_degraded = True
        if self._has_fallback:
            self._metrics.degraded.set(1)
        self._awake.set()

    def _on_risk(self, sessions: int) -> None:
        self._metrics.sessions_at_risk.set(sessions)
        if sessions:
            self._awake.set()
