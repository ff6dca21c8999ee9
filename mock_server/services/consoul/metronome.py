"""Wakes whoever waits for a moment: all that are due in the same millisecond, in one turn of the event loop."""

import asyncio
import heapq
import math
from collections.abc import Awaitable, Callable

_TICKS_PER_S = 1000
# Timers of the event loop count whole milliseconds and may fire a little early.
_EARLY_TICKS = 0.5

# Waits until a moment of the monotonic clock.
SleepUntil = Callable[[float], Awaitable[None]]


class Metronome:
    """One timer for any number of waits: thousands of streams cost one wake-up each, not one timer each."""

    def __init__(self, monotonic_s: Callable[[], float]):
        self._monotonic_s = monotonic_s
        self._waiting: dict[int, list[asyncio.Future[None]]] = {}
        self._ticks: list[int] = []
        self._timer: asyncio.TimerHandle | None = None
        self._timer_tick = 0

    def sleep_until(self, deadline_s: float) -> asyncio.Future[None]:
        """Waits until `deadline_s`; who is late waits for the next millisecond, so that the others go on too."""
        tick = max(math.ceil(deadline_s * _TICKS_PER_S), int(self._monotonic_s() * _TICKS_PER_S) + 1)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        waiting = self._waiting.get(tick)
        if waiting is not None:
            waiting.append(future)
            return future
        self._waiting[tick] = [future]
        heapq.heappush(self._ticks, tick)
        if self._timer is None or tick < self._timer_tick:
            self._arm(loop, tick)
        return future

    def _arm(self, loop: asyncio.AbstractEventLoop, tick: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_tick = tick
        self._timer = loop.call_later(max(0.0, tick / _TICKS_PER_S - self._monotonic_s()), self._fire, loop)

    def _fire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_tick = self._monotonic_s() * _TICKS_PER_S + _EARLY_TICKS
        ticks = self._ticks
        while ticks and ticks[0] <= now_tick:
            for future in self._waiting.pop(heapq.heappop(ticks)):
                if not future.done():
                    future.set_result(None)
        if ticks:
            self._arm(loop, ticks[0])
