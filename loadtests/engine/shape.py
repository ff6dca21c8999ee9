"""Tells Locust how many users the schedule wants. Locust asks about once a second; the schedule stays absolute."""

from collections.abc import Callable

import gevent
from locust import LoadTestShape

from loadtests.engine.run import Run
from loadtests.schedule import Schedule

Tick = tuple[int, float]
_TICK_S = 1.0


class ScheduleShape(LoadTestShape):
    """The shape of a profile: users of a closed one, generating processes of an open one.

    `begin` gives the run that a first tick starts, or None when there must be no (further) one.
    """

    def __init__(self, schedule: Schedule, begin: Callable[[], Run | None]) -> None:
        super().__init__()
        self._schedule = schedule
        self._begin = begin
        self._run: Run | None = None
        self._last: Tick | None = None

    def reset_time(self) -> None:
        """Locust's word for: a new run is about to start."""
        super().reset_time()
        self._run, self._last = None, None

    def tick(self) -> Tick | None:
        """Users and users a second from now on; None ends the run. Waits for a boundary or an end that is close."""
        if self._run is None:
            self._run = self._begin()
            if self._run is None:
                return None
        if self._schedule.is_open:
            # The first tick starts the dispatcher at once; the later ones have nothing to do but see the end.
            is_first, self._last = self._last is None, (1, 1.0)
            return self._last if is_first or not self._run.drained.wait(_TICK_S) else None
        self._wait_for_boundary(self._run)
        users = self._schedule.users_within(self._run.elapsed_s, _TICK_S)
        if users is None:
            return None
        if self._last is None or self._last[0] != users:
            change = abs(users - (self._last[0] if self._last else 0))
            self._last = (users, max(float(change), 1.0) / _TICK_S)
        return self._last

    def _wait_for_boundary(self, run: Run) -> None:
        now_s = run.elapsed_s
        for window in self._schedule.windows:
            if now_s < window.end_s < now_s + _TICK_S:
                gevent.sleep(window.end_s - now_s)
                return
