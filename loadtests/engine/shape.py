"""Tells Locust how many users the schedule wants. Locust asks about once a second; the schedule stays absolute."""

from collections.abc import Callable

import gevent
from locust import LoadTestShape

from loadtests.engine.run import Run
from loadtests.schedule import Schedule

Tick = tuple[int, float]
Step = tuple[float, int]
_TICK_S = 1.0


class ScheduleShape(LoadTestShape):
    """The shape of a profile: users of a closed one, generating processes of an open one.

    `begin` gives the run that a first tick starts, or None when there must be no (further) one.
    """

    def __init__(self, schedule: Schedule, begin: Callable[[], Run | None]) -> None:
        super().__init__()
        self._schedule = schedule
        self._begin = begin
        self.reset_time()

    def reset_time(self) -> None:
        """Locust's word for: a new run is about to start."""
        super().reset_time()
        self._run: Run | None = None
        self._last: Tick | None = None
        self._steps = self._schedule.steps(_TICK_S)
        self._next = next(self._steps, None)

    def tick(self) -> Tick | None:
        """Users and users a second from now on; None ends the run. Waits for the next step or for the end.

        Locust sleeps what is left of a second after each tick; steps are a second apart or more, so it is in time.
        """
        if self._run is None:
            self._run = self._begin()
            if self._run is None:
                return None
        if self._schedule.is_open:
            # The first tick starts the dispatcher at once; the later ones have nothing to do but see the end.
            is_first, self._last = self._last is None, (1, 1.0)
            return self._last if is_first or not self._run.drained.wait(_TICK_S) else None
        if self._next is None:
            self._sleep_until(self._schedule.end_s, self._run)
            return None
        users = self._take_step(self._next, self._run)
        if self._last is None or self._last[0] != users:
            change = abs(users - (self._last[0] if self._last else 0))
            self._last = (users, max(float(change), 1.0) / _TICK_S)
        return self._last

    def _take_step(self, step: Step, run: Run) -> int:
        """Waits for a step and gives its users; of steps that have passed the last counts."""
        self._sleep_until(step[0], run)
        self._next = next(self._steps, None)
        while self._next is not None and self._next[0] <= run.elapsed_s:
            step, self._next = self._next, next(self._steps, None)
        return step[1]

    def _sleep_until(self, at_s: float, run: Run) -> None:
        gevent.sleep(max(0.0, at_s - run.elapsed_s))
