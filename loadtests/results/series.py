"""One record a second: deltas of all generating processes and the target's own sample, brought together."""

import math
from dataclasses import dataclass, field

import msgspec

from loadtests.results.histograms import Distribution
from loadtests.wire import Interval

# An interval shorter than this, such as the last one of a run, says nothing about rates or CPU.
FRAGMENT_S = 0.5
_STALE_S = 5.0
_RATE_NAMES = {"cpu_s_total": "cpu_cores"}
_TOTAL = "_total"


class SeriesPoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One elapsed second of the run, a line of `series.jsonl`.

    `length_s` is how much was measured (the last second of a run is a fragment). Rates are events a second;
    `achieved_rate` counts successes, `error_ratio` is failed / (finished + failed). Percentiles are latencies of
    what ended in this second, None when nothing did; `run_…` are over all seconds so far. `target` holds its gauges
    as read and its counters as rates (`requests_total` becomes `requests_per_s`, `cpu_s_total` `cpu_cores`).
    """

    t: int
    unix: float
    length_s: float
    stage: str | None
    asked_rate: float | None
    achieved_rate: float
    started_rate: float
    failed_rate: float
    error_ratio: float | None
    started: int
    finished: int
    failed: int
    refused: int
    dropped: int
    users: int
    in_flight: int
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    max_s: float | None
    cpu_ratio: float
    loop_lag_max_s: float
    suspect: int
    bytes_received: int
    run_p50_s: float | None
    run_mean_s: float | None
    run_min_s: float | None
    run_max_s: float | None
    target: dict[str, float]


@dataclass
class _WorkerSecond:
    """What one process did in the intervals whose middle lies in one second."""

    length_s: float = 0.0
    started: int = 0
    finished: int = 0
    failed: int = 0
    refused: int = 0
    dropped: int = 0
    suspect: int = 0
    bytes_received: int = 0
    users: int = 0
    in_flight: int = 0
    stage: str | None = None
    asked_rate: float | None = None
    cpu_ratio: float = 0.0
    loop_lag_max_s: float = 0.0

    def add(self, interval: Interval) -> None:
        self.length_s += interval.end_s - interval.start_s
        self.users, self.in_flight = interval.users, interval.in_flight
        self.stage, self.asked_rate = interval.stage, interval.asked_rate
        self.cpu_ratio = max(self.cpu_ratio, interval.cpu_ratio)
        self.loop_lag_max_s = max(self.loop_lag_max_s, interval.loop_lag_max_s)
        for delta in interval.stages.values():
            self.started += delta.started
            self.dropped += delta.dropped
            self.suspect += delta.suspect
            for request in delta.requests.values():
                self.finished += request.finished
                self.failed += request.failed
                self.refused += request.refused
                self.bytes_received += request.bytes_received


@dataclass
class _Second:
    workers: dict[str, _WorkerSecond] = field(default_factory=dict)
    latency: Distribution = field(default_factory=Distribution)

    def add(self, interval: Interval) -> None:
        self.workers.setdefault(interval.worker, _WorkerSecond()).add(interval)
        for delta in interval.stages.values():
            for request in delta.requests.values():
                payload = request.histograms.get("latency")
                if payload:
                    self.latency.add_encoded(payload)


class SecondBuffer:
    """Holds the seconds some process may still add to; a process silent for 5 s is not waited for."""

    def __init__(self) -> None:
        self._unix = 0.0
        self._processes = 1
        self._open: dict[int, _Second] = {}
        self._reached_s: dict[str, float] = {}
        self._next = 0
        self._target = TargetSeries()
        self._run = Distribution()
        self.latest: SeriesPoint | None = None

    def begin(self, unix: float, processes: int) -> None:
        """Sets the moment of second 0 and how many processes must report before a second closes."""
        self._unix = unix
        self._processes = processes

    def add(self, interval: Interval) -> None:
        """Adds one interval to the second its middle lies in; one later than its second joins the next open one."""
        second = max(self._next, math.floor((interval.start_s + interval.end_s) / 2))
        self._open.setdefault(second, _Second()).add(interval)
        self._reached_s[interval.worker] = interval.end_s

    def add_target(self, at_s: float, sample: dict[str, float]) -> None:
        """Keeps one sample of the target's metrics."""
        self._target.add(at_s, sample)

    def closed(self) -> list[SeriesPoint]:
        """Records of the seconds every live process has passed, oldest first, each once."""
        return self._drain(self._passed_s())

    def rest(self) -> list[SeriesPoint]:
        """Records of everything still held."""
        return self._drain(math.inf)

    def _passed_s(self) -> float:
        if not self._reached_s:
            return 0.0
        newest = max(self._reached_s.values())
        live = [reached for reached in self._reached_s.values() if newest - reached <= _STALE_S]
        if len(self._reached_s) < self._processes and newest < _STALE_S:
            return 0.0
        return min(live)

    def _drain(self, passed_s: float) -> list[SeriesPoint]:
        ready = sorted(second for second in self._open if second + 1 <= passed_s)
        points = [self._point(second, self._open.pop(second)) for second in ready]
        if points:
            self._next = ready[-1] + 1
            self.latest = points[-1]
        return points

    def _point(self, t: int, second: _Second) -> SeriesPoint:
        workers = [worker for worker in second.workers.values() if worker.length_s > 0]
        finished, failed = sum(w.finished for w in workers), sum(w.failed for w in workers)
        asked = [w.asked_rate for w in workers if w.asked_rate is not None]
        self._run.merge(second.latency)
        p50, p95, p99 = second.latency.percentiles_s([50, 95, 99])
        return SeriesPoint(
            t=t,
            unix=round(self._unix + t, 3),
            length_s=_round(max((w.length_s for w in workers), default=0.0)),
            stage=next((w.stage for w in workers if w.stage is not None), None),
            asked_rate=_round(sum(asked)) if asked else None,
            achieved_rate=_round(sum(w.finished / w.length_s for w in workers)),
            started_rate=_round(sum(w.started / w.length_s for w in workers)),
            failed_rate=_round(sum(w.failed / w.length_s for w in workers)),
            error_ratio=_round(failed / (finished + failed)) if finished + failed else None,
            started=sum(w.started for w in workers),
            finished=finished,
            failed=failed,
            refused=sum(w.refused for w in workers),
            dropped=sum(w.dropped for w in workers),
            users=sum(w.users for w in workers),
            in_flight=sum(w.in_flight for w in workers),
            p50_s=p50,
            p95_s=p95,
            p99_s=p99,
            max_s=second.latency.max_s,
            cpu_ratio=_round(max((w.cpu_ratio for w in workers), default=0.0)),
            loop_lag_max_s=_round(max((w.loop_lag_max_s for w in workers), default=0.0)),
            suspect=sum(w.suspect for w in workers),
            bytes_received=sum(w.bytes_received for w in workers),
            run_p50_s=self._run.percentile_s(50),
            run_mean_s=self._run.mean_s,
            run_min_s=self._run.min_s,
            run_max_s=self._run.max_s,
            target=self._target.take(t),
        )


class TargetSeries:
    """The target's samples by second, its counters turned into rates between neighbouring samples."""

    def __init__(self) -> None:
        self._previous: tuple[float, dict[str, float]] | None = None
        self._by_second: dict[int, dict[str, float]] = {}

    def add(self, at_s: float, sample: dict[str, float]) -> None:
        """Adds one sample; a counter that went down (a restart) gives no rate for that step."""
        values = {name: value for name, value in sample.items() if not name.endswith(_TOTAL) and math.isfinite(value)}
        if self._previous is not None and at_s > self._previous[0]:
            length_s = at_s - self._previous[0]
            for name, value in sample.items():
                before = self._previous[1].get(name)
                if name.endswith(_TOTAL) and before is not None and value >= before:
                    values[rate_name(name)] = _round((value - before) / length_s)
        self._previous = (at_s, dict(sample))
        self._by_second[math.floor(at_s)] = values

    def take(self, second: int) -> dict[str, float]:
        """The sample of a second, empty when none was taken; forgets older ones."""
        values = self._by_second.get(second, {})
        self._by_second = {t: kept for t, kept in self._by_second.items() if t > second}
        return values


def rate_name(counter: str) -> str:
    """Name of a counter's rate: `requests_total` → `requests_per_s`, `cpu_s_total` → `cpu_cores`."""
    return _RATE_NAMES.get(counter, counter.removesuffix(_TOTAL) + "_per_s")


def _round(value: float) -> float:
    return round(value, 6)
