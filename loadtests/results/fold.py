"""Folds the messages of the generating processes into totals per stage and request, and into one record a second."""

from collections import Counter
from dataclasses import dataclass, field

from loadtests.errors import HarnessError
from loadtests.model import Plan
from loadtests.results.histograms import Distribution
from loadtests.results.series import FRAGMENT_S, SecondBuffer, SeriesPoint
from loadtests.wire import Alarm, Arrivals, Ended, Interval, Message, RequestDelta, StageDelta, StageEvent, Started


@dataclass
class RequestTotals:
    """What ended for one request name in one stage."""

    finished: int = 0
    refused: int = 0
    failed: int = 0
    bytes_sent: int = 0
    bytes_received: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    failures: dict[tuple[str, str], "FailureTotals"] = field(default_factory=dict)
    distributions: dict[str, Distribution] = field(default_factory=dict)

    def add(self, delta: RequestDelta, at_s: float) -> None:
        """Adds one interval's delta, measured up to `at_s`."""
        self.finished += delta.finished
        self.refused += delta.refused
        self.failed += delta.failed
        self.bytes_sent += delta.bytes_sent
        self.bytes_received += delta.bytes_received
        self.statuses.update(delta.statuses)
        for failure in delta.failures:
            key = (failure.kind, failure.detail)
            self.failures.setdefault(key, FailureTotals(first_s=at_s)).add(failure.count, at_s)
        for metric, payload in delta.histograms.items():
            self.distributions.setdefault(metric, Distribution()).add_encoded(payload)

    def merge(self, other: "RequestTotals") -> None:
        """Adds the totals of another scope; failures stay with theirs."""
        self.finished += other.finished
        self.refused += other.refused
        self.failed += other.failed
        self.bytes_sent += other.bytes_sent
        self.bytes_received += other.bytes_received
        self.statuses.update(other.statuses)
        for metric, distribution in other.distributions.items():
            self.distributions.setdefault(metric, Distribution()).merge(distribution)


@dataclass
class FailureTotals:
    """One kind of failure with one message: how many, and when first and last seen (elapsed)."""

    first_s: float
    last_s: float = 0.0
    count: int = 0

    def add(self, count: int, at_s: float) -> None:
        """Adds `count` seen up to `at_s`."""
        self.count += count
        self.first_s = min(self.first_s, at_s)
        self.last_s = max(self.last_s, at_s)


@dataclass
class StageTotals:
    """Ledger, requests and real times of one stage."""

    name: str
    begin_s: float | None = None
    end_s: float | None = None
    scheduled: int = 0
    started: int = 0
    dropped: int = 0
    cut_off: int = 0
    late: int = 0
    suspect: int = 0
    requests: dict[str, RequestTotals] = field(default_factory=dict)

    @property
    def finished(self) -> int:
        """Successes over all requests."""
        return sum(request.finished for request in self.requests.values())

    @property
    def failed(self) -> int:
        """Failures over all requests."""
        return sum(request.failed for request in self.requests.values())

    @property
    def refused(self) -> int:
        """Expected refusals (part of finished) over all requests."""
        return sum(request.refused for request in self.requests.values())

    @property
    def duration_s(self) -> float:
        """Length as it really was; 0 when it never ran."""
        return 0.0 if self.begin_s is None or self.end_s is None else max(0.0, self.end_s - self.begin_s)

    def add(self, delta: StageDelta, at_s: float) -> None:
        """Adds one interval of one generating process."""
        self.scheduled += delta.scheduled
        self.started += delta.started
        self.dropped += delta.dropped
        self.cut_off += delta.cut_off
        self.late += delta.late
        self.suspect += delta.suspect
        for name, request in delta.requests.items():
            self.requests.setdefault(name, RequestTotals()).add(request, at_s)


class Tally:
    """Everything measured so far; messages of any number of processes, in order for each of them."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.stages = {stage.name: StageTotals(stage.name) for stage in plan.profile.stages}
        self.warmup_stages = frozenset(stage.name for stage in plan.profile.stages if stage.warmup)
        self.alarms: list[Alarm] = []
        self.arrivals: list[Arrivals] = []
        self.started: Started | None = None
        self.ended: Ended | None = None
        self.last_s = 0.0
        self.loop_lag_max_s = 0.0
        self.cpu_ratio_max = 0.0
        self.workers: set[str] = set()
        self._seconds = SecondBuffer()

    def add(self, message: Message) -> None:
        """Folds one message; raises HarnessError for a stage the plan does not have or a histogram that is none."""
        if isinstance(message, Interval):
            self._add_interval(message)
        elif isinstance(message, StageEvent):
            self._add_stage_event(message)
        elif isinstance(message, Alarm):
            self.alarms.append(message)
        elif isinstance(message, Arrivals):
            self.arrivals.append(message)
        elif isinstance(message, Started):
            self.started = message
            self._seconds.begin(message.unix, message.processes)
        else:
            self.ended = message
            self.last_s = max(self.last_s, message.at_s)
            self._close_stages(message.at_s)

    def add_target(self, at_s: float, sample: dict[str, float]) -> None:
        """Keeps one sample of the target's metrics taken `at_s` after the start; `…_total` are counters."""
        self._seconds.add_target(at_s, sample)

    def closed_seconds(self) -> list[SeriesPoint]:
        """Records of the seconds whose data is all in and that were not returned before, oldest first."""
        return self._seconds.closed()

    def finish(self) -> list[SeriesPoint]:
        """The records of the seconds still open, once no more messages will come; closes stages left open."""
        self._close_stages(self.last_s)
        return self._seconds.rest()

    @property
    def latest(self) -> SeriesPoint | None:
        """The newest closed second, for a live display."""
        return self._seconds.latest

    @property
    def current_stage(self) -> StageTotals | None:
        """The stage that runs now."""
        running = [s for s in self.stages.values() if s.begin_s is not None and s.end_s is None]
        return running[-1] if running else None

    @property
    def judged_stages(self) -> list[StageTotals]:
        """Stages that count towards the run: all but warm-up."""
        return [stage for name, stage in self.stages.items() if name not in self.warmup_stages]

    def _stage(self, name: str) -> StageTotals:
        if name not in self.stages:
            raise HarnessError(
                f"the generator reported stage {name!r}, but the plan has {', '.join(self.stages)}; "
                "generator and parent do not run the same plan"
            )
        return self.stages[name]

    def _add_interval(self, interval: Interval) -> None:
        self.workers.add(interval.worker)
        self.last_s = max(self.last_s, interval.end_s)
        self.loop_lag_max_s = max(self.loop_lag_max_s, interval.loop_lag_max_s)
        if interval.end_s - interval.start_s >= FRAGMENT_S:
            self.cpu_ratio_max = max(self.cpu_ratio_max, interval.cpu_ratio)
        try:
            for name, delta in interval.stages.items():
                self._stage(name).add(delta, interval.end_s)
            self._seconds.add(interval)
        except ValueError as error:
            raise HarnessError(
                f"generating process {interval.worker!r} at {interval.end_s:.1f} s: {error}"
            ) from error

    def _add_stage_event(self, event: StageEvent) -> None:
        stage = self._stage(event.stage)
        if event.event == "begin":
            stage.begin_s = event.at_s if stage.begin_s is None else min(stage.begin_s, event.at_s)
        else:
            stage.end_s = event.at_s if stage.end_s is None else max(stage.end_s, event.at_s)

    def _close_stages(self, at_s: float) -> None:
        for stage in self.stages.values():
            if stage.begin_s is not None and stage.end_s is None:
                stage.end_s = max(at_s, stage.begin_s)
