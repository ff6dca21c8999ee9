"""One execution of a plan in one generating process: its clock, its recorder, and a report of every second."""

import gc
import math
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, Literal

import gevent
from gevent.event import Event
from gevent.pool import Group

from loadtests.engine.behaviour import Caller, Setup, create_behaviour
from loadtests.engine.recorder import Cell, Recorder
from loadtests.engine.watchdog import HIGH_CPU_RATIO, Alarms, CpuMeter, LagSampler
from loadtests.loader import scale_profile
from loadtests.model import Plan
from loadtests.schedule import Schedule
from loadtests.wire import Alarm, Ended, Interval, Message, StageEvent, Started

_REPORT_PERIOD_S = 1.0
_FOLDS_PER_REPORT = 5
_MOST_ERRORS = 20
_TOOLS = ("locust", "gevent", "hdrhistogram", "numpy", "msgspec")


class Run:
    """Lives from the first moment of load to the last message; `begin` sets its clock to zero."""

    def __init__(
        self,
        plan: Plan,
        api_key: str | None,
        send: Callable[[Message], None],
        on_cells: Callable[[list[Cell]], None],
        worker: str = "0",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`send` takes each message, `on_cells` what ended in each second. Raises UsageError for an unusable plan."""
        self.plan = plan
        self.profile = scale_profile(plan.profile, plan.time_scale)
        self.schedule = Schedule.of(self.profile)
        self.clock = clock
        self.setup = Setup(self.profile, plan.targets, plan.short_id, api_key)
        self.behaviours = {name: create_behaviour(name, self.setup) for name in self.profile.mix}
        self._lag = LagSampler(clock)
        names = [stage.name for stage in self.profile.stages]
        self.recorder = Recorder(names, [request.name for request in self.setup.requests], self._lag.lag_at)
        self.users = 0
        # Users that were asked to stop and still wait for an answer.
        self.leaving = Group()
        self.t0_s = 0.0
        self.drained = Event()
        self._send, self._on_cells = send, on_cells
        self._worker = worker
        self._cpu = CpuMeter(clock, time.process_time)
        self._alarms = Alarms()
        self._errors: set[str] = set()
        self._reported_s = 0.0
        self._open_stage: str | None = None
        self._greenlets: list[Any] = []
        self._is_ending, self._ended = False, Event()

    @property
    def elapsed_s(self) -> float:
        """Seconds since `begin`."""
        return self.clock() - self.t0_s

    @property
    def is_over(self) -> bool:
        """True once all stages have passed."""
        return self.elapsed_s >= self.schedule.end_s

    def begin(self) -> None:
        """Starts the clock, announces the run, and begins to report."""
        # What exists now lives as long as the run: the collector need not walk it again and again.
        gc.collect()
        gc.freeze()
        versions = {tool: version(tool) for tool in _TOOLS}
        self.t0_s = self.clock()
        self._lag.restart()
        self._cpu.take_ratio()
        self._send(Started(unix=time.time(), processes=1, versions=versions))
        self._greenlets = [gevent.spawn(work) for work in (self._sample_lag, self._announce_stages, self._report_all)]

    def create_caller(self, number: int) -> Caller:
        """A client for one user or worker of this run."""
        return Caller(number, self.setup, self.recorder, self.schedule, self.clock, self.t0_s)

    def report_error(self, error: Exception) -> None:
        """Says that a behaviour or the dispatcher broke, once for each text: our fault, not the target's."""
        detail = f"{type(error).__name__}: {error}"[:200]
        if detail not in self._errors and len(self._errors) < _MOST_ERRORS:
            self._errors.add(detail)
            self._send(Alarm(self.elapsed_s, "harness", detail))

    def send(self, message: Message) -> None:
        """Sends a message of this run."""
        self._send(message)

    def finish(self) -> None:
        """Ends the run once all load has stopped: the last interval and the last message. Later calls only wait."""
        if self._is_ending:
            self._ended.wait()
            return
        self._is_ending = True
        reason: Literal["completed", "stopped"] = "completed" if self.is_over else "stopped"
        gevent.killall(self._greenlets, block=True)
        if self._open_stage is not None:
            self._send(StageEvent(self._open_stage, "end", min(self.elapsed_s, self.schedule.end_s)))
        self._report()
        self._send(Ended(at_s=self.elapsed_s, reason=reason))
        self._ended.set()

    def _sample_lag(self) -> None:
        while True:
            gevent.sleep(self._lag.sample())

    def _announce_stages(self) -> None:
        for window in self.schedule.windows:
            self._sleep_until(window.start_s)
            self._open_stage = window.name
            self._send(StageEvent(window.name, "begin", self.elapsed_s))
            self._sleep_until(window.end_s)
            self._open_stage = None
            self._send(StageEvent(window.name, "end", self.elapsed_s))

    def _report_all(self) -> None:
        period_s = _REPORT_PERIOD_S / _FOLDS_PER_REPORT
        while True:
            tick = math.floor(self.elapsed_s / period_s) + 1
            self._sleep_until(tick * period_s)
            self.recorder.fold()
            if tick % _FOLDS_PER_REPORT == 0:
                self._report()

    def _report(self) -> None:
        start_s, end_s = self._reported_s, self.elapsed_s
        self._reported_s = end_s
        cpu_ratio = self._cpu.take_ratio()
        flushed = self.recorder.flush(is_busy=cpu_ratio > HIGH_CPU_RATIO)
        window = self.schedule.window_at(start_s)
        stage = window.name if window else None
        asked = self.schedule.expected_arrivals(start_s, end_s) / (end_s - start_s) if end_s > start_s else 0.0
        interval = Interval(
            worker=self._worker,
            start_s=start_s,
            end_s=end_s,
            stage=stage,
            asked_rate=asked if self.schedule.is_open else None,
            users=self.users,
            in_flight=self.recorder.in_flight,
            loop_lag_max_s=self._lag.take_highest_s(),
            cpu_ratio=cpu_ratio,
            stages=flushed.stages,
        )
        self._send(interval)
        ended = sum(cell.finished + cell.failed for cell in flushed.cells)
        suspect = sum(delta.suspect for delta in flushed.stages.values())
        for alarm in self._alarms.check(end_s, stage, end_s - start_s, cpu_ratio, ended, suspect):
            self._send(alarm)
        self._on_cells(flushed.cells)

    def _sleep_until(self, at_s: float) -> None:
        gevent.sleep(max(0.0, at_s - self.elapsed_s))
