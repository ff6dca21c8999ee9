"""The open model: arrivals on an absolute schedule; each is started, or dropped and counted, whatever happens."""

from collections.abc import Callable, Iterator
from typing import Any

import gevent
import greenlet  # type: ignore[import-untyped]

from loadtests.arrivals import ArrivalCheck
from loadtests.engine.behaviour import Behaviour, Caller
from loadtests.engine.recorder import Recorder
from loadtests.engine.timer import Timer
from loadtests.model import Profile
from loadtests.schedule import Schedule, Window, arrival_times, substream
from loadtests.wire import Arrivals

# How many overdue arrivals are started before the loop turns, so that answers are read while we catch up.
_BURST = 64
_LONGEST_WAIT_S = 0.25
_DRAIN_POLL_S = 0.005
_DRAIN_MARGIN_S = 0.5

MakeCaller = Callable[[int], Caller]


class _Worker:
    """A parked greenlet with a connection of its own; the dispatcher wakes it with one iteration at a time."""

    def __init__(self, caller: Caller, idle: "list[_Worker]", on_error: Callable[[Exception], None]) -> None:
        self.caller = caller
        self.behaviour: Behaviour | None = None
        self._idle = idle
        self._on_error = on_error
        self._hub: Any = gevent.get_hub()
        self.greenlet: Any = greenlet.greenlet(self._work, self._hub)

    def _work(self) -> None:
        park, caller = self._hub.switch, self.caller
        while True:
            if self.behaviour is not None:
                try:
                    self.behaviour.iterate(caller)
                except Exception as error:  # noqa: BLE001 - the top of a greenlet: a broken behaviour is reported
                    self._on_error(error)
                caller.cut()
                self.behaviour = None
                self._idle.append(self)
            park()

    def abandon(self) -> None:
        """Counts an iteration that was assigned and has not begun as cut off."""
        if self.caller.planned_s is not None:
            self.behaviour = None
            self.caller.cut()


class Dispatcher:
    """Starts every arrival of a schedule on time, drops those beyond `max_in_flight`, drains at the end."""

    def __init__(
        self,
        profile: Profile,
        schedule: Schedule,
        recorder: Recorder,
        behaviours: dict[str, Behaviour],
        make_caller: MakeCaller,
        clock: Callable[[], float],
        timer: Timer,
        on_error: Callable[[Exception], None],
        on_arrivals: Callable[[Arrivals], None],
        worker: int = 0,
        workers: int = 1,
    ) -> None:
        self._profile = profile
        self._schedule = schedule
        self._recorder = recorder
        self._behaviours = [behaviours[name] for name in profile.mix]
        self._make_caller = make_caller
        self._clock = clock
        self._timer = timer
        self._on_error = on_error
        self._on_arrivals = on_arrivals
        self._worker, self._workers = worker, workers
        self._idle: list[_Worker] = []
        self._all: list[_Worker] = []
        self._run_callback: Any = gevent.get_hub().loop.run_callback
        self.is_stopping = False

    def run(self, t0_s: float) -> None:
        """Dispatches the whole schedule from `t0_s` on the clock, then drains; what is left is cut off."""
        try:
            for window in self._schedule.windows:
                self._run_window(window, t0_s)
                if self.is_stopping:
                    return
            self._wait_until(t0_s + self._schedule.end_s)
            self._drain()
        finally:
            self._timer.close()
            self._stop_workers()

    def _stop_workers(self) -> None:
        """Cuts off what is in flight: each worker records that itself as the exception reaches it."""
        for worker in self._all:
            worker.abandon()
            self._run_callback(worker.greenlet.throw, greenlet.GreenletExit)
        while any(not worker.greenlet.dead for worker in self._all):
            gevent.sleep(0)
        for worker in self._all:
            worker.caller.close()

    def _run_window(self, window: Window, t0_s: float) -> None:
        profile = self._profile
        check = ArrivalCheck(window, profile.arrivals, self._workers)
        choices = self._choices(window)
        burst = 0
        for chunk in arrival_times(window, profile.arrivals, profile.seed, self._worker, self._workers):
            check.add(chunk)
            for at_s in (chunk + t0_s).tolist():
                if at_s > self._clock():
                    self._wait_until(at_s)
                    burst = 0
                elif (burst := burst + 1) >= _BURST:
                    gevent.sleep(0)
                    burst = 0
                if self.is_stopping:
                    return
                self._dispatch(at_s, window.index, next(choices))
        seen = check.effects()
        self._on_arrivals(
            Arrivals(
                worker=str(self._worker),
                stage=window.name,
                count=seen.count,
                rate_ratio=seen.rate_ratio,
                gap_variation=seen.gap_variation,
                lag1_correlation=seen.lag1_correlation,
                dispersion=seen.dispersion,
            )
        )

    def _choices(self, window: Window) -> Iterator[Behaviour]:
        """Behaviours in the proportion of the mix, drawn from a stream of this stage and worker."""
        if len(self._behaviours) == 1:
            while True:
                yield self._behaviours[0]
        generator = substream(self._profile.seed, "mix", window.name, self._worker)
        weights = list(self._profile.mix.values())
        shares = [weight / sum(weights) for weight in weights]
        while True:
            for index in generator.choice(len(shares), size=4096, p=shares).tolist():
                yield self._behaviours[index]

    def _dispatch(self, at_s: float, stage: int, behaviour: Behaviour) -> None:
        self._recorder.scheduled[stage] += 1
        if self._idle:
            worker = self._idle.pop()
        elif len(self._all) < self._profile.max_in_flight:
            worker = self._create_worker()
        else:
            self._recorder.drop(stage, self._clock() - at_s)
            return
        worker.caller.begin(at_s, stage)
        worker.behaviour = behaviour
        self._run_callback(worker.greenlet.switch)

    def _create_worker(self) -> _Worker:
        worker = _Worker(self._make_caller(len(self._all) + 1), self._idle, self._on_error)
        self._all.append(worker)
        return worker

    def _wait_until(self, at_s: float) -> None:
        while not self.is_stopping:
            now_s = self._clock()
            if now_s >= at_s:
                return
            self._timer.wait_until(min(at_s, now_s + _LONGEST_WAIT_S))

    def _drain(self) -> None:
        """Waits for what is in flight; every request has a deadline of its own, the margin lets it report that."""
        until_s = self._clock() + self._profile.timeout_s + _DRAIN_MARGIN_S
        while self._recorder.in_flight and not self.is_stopping and self._clock() < until_s:
            gevent.sleep(_DRAIN_POLL_S)
