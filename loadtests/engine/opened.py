"""The open model inside Locust: one user for each generating process, which owns the dispatcher and its workers."""

import time
from typing import ClassVar

from locust import User, task
from locust.exception import StopUser

from loadtests.engine.dispatcher import Dispatcher
from loadtests.engine.run import Run
from loadtests.engine.timer import create_timer


class OpenLoad(User):
    """Runs the whole schedule of arrivals, drains, and stops; killed, what is in flight counts as cut off."""

    run_now: ClassVar[Run | None] = None
    dispatcher_now: ClassVar[Dispatcher | None] = None

    @task
    def generate(self) -> None:
        """Locust's one task of this user."""
        run = OpenLoad.run_now
        assert run is not None
        dispatcher = Dispatcher(
            profile=run.profile,
            schedule=run.schedule,
            recorder=run.recorder,
            behaviours=run.behaviours,
            make_caller=run.create_caller,
            clock=time.monotonic,
            timer=create_timer(),
            on_error=run.report_error,
            on_arrivals=run.send,
        )
        OpenLoad.dispatcher_now = dispatcher
        try:
            dispatcher.run(run.t0_s)
        except Exception as error:  # noqa: BLE001 - the top of the dispatcher: Locust would only log it
            run.report_error(error)
        finally:
            OpenLoad.dispatcher_now = None
            run.drained.set()
        raise StopUser
