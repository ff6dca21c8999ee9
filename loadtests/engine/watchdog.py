"""Watches the generator itself: the lag of its event loop, its CPU. What it finds marks samples as suspect."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from loadtests.wire import Alarm

SAMPLE_PERIOD_S = 0.005
HIGH_CPU_RATIO = 0.9
_HIGH_SUSPECT_RATIO = 0.01
_KEEP_S = 2.0
_SHORTEST_S = 0.5
_ADVICE = "the generator may be the bottleneck: lower the load, or spread it over more processes or hosts"

Clock = Callable[[], float]


class LagSampler:
    """Lag of the loop: how much later than planned a short sleep ends. Whoever owns the loop calls `sample`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._planned: list[float] = []
        self._woken: list[float] = []
        self._next_s = clock() + SAMPLE_PERIOD_S
        self._highest_s = 0.0

    def restart(self) -> None:
        """Starts anew: what was before is forgotten."""
        self._planned, self._woken = [], []
        self._next_s, self._highest_s = self._clock() + SAMPLE_PERIOD_S, 0.0

    def sample(self) -> float:
        """Takes one sample and returns the seconds to sleep until the next."""
        now_s = self._clock()
        self._planned.append(self._next_s)
        self._woken.append(now_s)
        self._highest_s = max(self._highest_s, now_s - self._next_s)
        self._next_s = now_s + SAMPLE_PERIOD_S
        return SAMPLE_PERIOD_S

    def lag_at(self, moments_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """The lag in seconds at each moment: that of the last sample due before it, one overdue now included.

        A loop that stood still is late for its sample, and ends the requests that waited in the same turn: some just
        before the sample, some just after it.
        """
        planned = np.array([*self._planned, self._next_s])
        woken = np.array([*self._woken, max(self._clock(), self._next_s)])
        index = np.searchsorted(planned, moments_s, side="right") - 1
        lag_s: NDArray[np.float64] = np.where(index < 0, 0.0, (woken - planned)[index])
        return lag_s

    def take_highest_s(self) -> float:
        """The highest lag since the last call, a sample overdue now included; forgets what is too old to be asked."""
        now_s = self._clock()
        highest_s = max(self._highest_s, now_s - self._next_s, 0.0)
        self._highest_s = 0.0
        keep = int(np.searchsorted(np.array(self._woken), now_s - _KEEP_S))
        del self._planned[:keep], self._woken[:keep]
        return highest_s


class CpuMeter:
    """CPU time of this process over wall time, between two calls."""

    def __init__(self, clock: Clock, cpu_clock: Clock) -> None:
        self._clock, self._cpu_clock = clock, cpu_clock
        self._last = (clock(), cpu_clock())

    def take_ratio(self) -> float:
        """The ratio since the last call (1.0 is one core)."""
        now = (self._clock(), self._cpu_clock())
        wall_s, cpu_s = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return cpu_s / wall_s if wall_s > 0 else 0.0


class Alarms:
    """Turns what was measured in a second into alarms, each kind once a stage so that they stay readable."""

    def __init__(self) -> None:
        self._raised: set[tuple[str, str | None]] = set()

    def check(
        self, at_s: float, stage: str | None, period_s: float, cpu_ratio: float, ended: int, suspect: int
    ) -> list[Alarm]:
        """The alarms of the last `period_s` that were not raised in this stage before; none outside the stages."""
        found = []
        if cpu_ratio > HIGH_CPU_RATIO and period_s >= _SHORTEST_S:
            found.append(Alarm(at_s, "cpu", f"the generator used {cpu_ratio:.0%} of a core; {_ADVICE}"))
        if ended >= 1 / _HIGH_SUSPECT_RATIO and suspect > _HIGH_SUSPECT_RATIO * ended:
            detail = f"{suspect} of {ended} samples of this second are suspect (late start or loop lag); {_ADVICE}"
            found.append(Alarm(at_s, "suspect", detail))
        fresh = [alarm for alarm in found if stage is not None and (alarm.kind, stage) not in self._raised]
        self._raised.update((alarm.kind, stage) for alarm in fresh)
        return fresh
