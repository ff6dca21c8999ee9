"""The closed model as Locust users: each thinks, acts, and waits for the answer before it thinks again."""

import random
from typing import Any, ClassVar

import gevent
from locust import User
from locust.exception import StopUser
from locust.user.task import LOCUST_STATE_RUNNING, LOCUST_STATE_STOPPING, LOCUST_STATE_WAITING

from loadtests.engine.behaviour import Caller
from loadtests.engine.run import Run


class ClosedUser(User):
    """A user of one behaviour. Locust starts and stops it; the loop is ours, which Locust's own would only slow down.

    Asked to stop, it finishes the request in flight, but is no user of the run any more; killed in one, that request
    counts as cut off.
    """

    abstract = True
    behaviour_name: ClassVar[str]
    run_now: ClassVar[Run | None] = None
    _is_present = False
    _numbers: ClassVar[int] = 0

    def on_start(self) -> None:
        """Locust's hook: the user joins the run."""
        ClosedUser._numbers += 1
        assert self.run_now is not None
        self._run_of_user: Run = self.run_now
        self._run_of_user.users += 1
        self._is_present = True
        self._caller = self._run_of_user.create_caller(ClosedUser._numbers)

    def on_stop(self) -> None:
        """Locust's hook: the user has left, its connections are closed."""
        self._leave()
        self._caller.close()

    def stop(self, force: bool = False) -> bool:
        """Locust's call to stop: a user that still waits for an answer is taken out of Locust's count at once.

        Locust would count it until the answer came, take it for one of the users wanted later, and never start
        another in its place.
        """
        is_killed: bool = super().stop(force)
        if not is_killed:
            self._leave()
            self._run_of_user.leaving.add(self.greenlet)
            self.group.discard(self.greenlet)
        return is_killed

    def _leave(self) -> None:
        if self._is_present:
            self._is_present = False
            self._run_of_user.users -= 1

    def live(self) -> None:
        """Locust's one task of this user: it ends by StopUser or by being killed."""
        run, caller = self._run_of_user, self._caller
        behaviour, recorder, schedule = run.behaviours[self.behaviour_name], run.recorder, run.schedule
        lowest_s, highest_s = run.profile.think_time.min_s, run.profile.think_time.max_s
        chance = random.Random(f"{run.profile.seed}/think/{caller.number}")
        # Users that start together must not act together: the first wait is anywhere in a think time.
        planned_s = run.clock() + chance.uniform(0.0, highest_s)
        while True:
            self._wait_until(planned_s, run)
            window = schedule.window_at(planned_s - run.t0_s)
            if window is None:
                raise StopUser
            recorder.scheduled[window.index] += 1
            caller.begin(planned_s, window.index)
            self._act(behaviour.iterate, caller, run)
            if self._state == LOCUST_STATE_STOPPING:
                raise StopUser
            planned_s = run.clock() + (lowest_s if lowest_s == highest_s else chance.uniform(lowest_s, highest_s))

    def _act(self, iterate: Any, caller: Caller, run: Run) -> None:
        try:
            iterate(caller)
        except Exception as error:  # noqa: BLE001 - the top of a user's iteration: a broken behaviour is reported
            run.report_error(error)
        finally:
            caller.cut()

    def _wait_until(self, planned_s: float, run: Run) -> None:
        """Thinks; Locust may kill a waiting user at once."""
        self._state = LOCUST_STATE_WAITING
        left_s = planned_s - run.clock()
        if left_s > 0:
            gevent.sleep(left_s)
        self._state = LOCUST_STATE_RUNNING

    tasks: ClassVar[list[Any]] = [live]


def create_closed_classes(mix: dict[str, float]) -> list[type[ClosedUser]]:
    """One Locust user class for each behaviour of a mix, named like it and weighted as it says."""
    return [
        type(name, (ClosedUser,), {"behaviour_name": name, "weight": weight, "abstract": False})
        for name, weight in mix.items()
    ]
