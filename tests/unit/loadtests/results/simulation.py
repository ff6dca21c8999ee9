"""A run that never happened: wire messages as a generator would send them, from seeded random latencies."""

import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from hdrh.histogram import HdrHistogram

from loadtests.model import Plan, Profile
from loadtests.results.fold import Tally
from loadtests.results.model import GitState, TargetReport
from loadtests.wire import (
    HISTOGRAM_DIGITS,
    HISTOGRAM_HIGHEST_US,
    HISTOGRAM_LOWEST_US,
    Arrivals,
    Ended,
    FailureDelta,
    Interval,
    Message,
    RequestDelta,
    StageDelta,
    StageEvent,
    Started,
)

STARTED_UNIX = 1_795_000_000.0
TARGET = TargetReport(urls={"consoul": "http://127.0.0.1:8000"}, is_mock=True, facts={"version": "0.1.0"})
GIT = GitState(sha="0123456789abcdef0123456789abcdef01234567", is_dirty=False)
VERSIONS = {"python": "3.11.7", "locust": "2.47.0"}

LOAD = {
    "name": "load",
    "description": "Does the service hold its latency while users ramp to one hundred?",
    "stack": "consoul",
    "stages": [
        {"name": "warm", "duration": "20s", "users": 10, "ramp": "20s", "warmup": True},
        {"name": "ramp", "duration": "60s", "users": 50, "ramp": "60s"},
        {"name": "hold", "duration": "120s", "users": 50},
        {"name": "spike", "duration": "30s", "users": 100, "ramp": "5s"},
        {"name": "down", "duration": "30s", "users": 0, "ramp": "30s"},
    ],
    "mix": {"chat": 1},
    "expected": [429],
    "thresholds": [
        "p95 < 2s",
        {"check": "p95 < 200ms", "stage": "hold"},
        {"check": "p99 < 3s", "stage": "spike"},
        {"check": "p99.9 < 500ms", "stage": "hold", "request": "POST /chat", "hard": False},
        "error_ratio < 1%",
        "dropped == 0",
        "target.cpu < 85%",
    ],
}


def build_plan(profile: Mapping[str, object] | None = None, time_scale: float = 1.0) -> Plan:
    """The plan of one simulated run."""
    return Plan(
        run_id="20261118T130640Z-consoul-load-1a2b3c",
        short_id="1a2b3c",
        profile=Profile.model_validate(profile or LOAD),
        time_scale=time_scale,
        targets={"consoul": "http://127.0.0.1:8000"},
    )


def encode(values_s: list[float]) -> str:
    """One encoded histogram of values in seconds."""
    histogram = HdrHistogram(HISTOGRAM_LOWEST_US, HISTOGRAM_HIGHEST_US, HISTOGRAM_DIGITS)
    for value in values_s:
        histogram.record_value(max(HISTOGRAM_LOWEST_US, round(value * 1e6)))
    return str(histogram.encode().decode())


def build_request(
    latencies_s: list[float],
    *,
    failed: int = 0,
    refused: int = 0,
    kind: str = "wrong_status",
    detail: str = "status 503",
) -> RequestDelta:
    """Successes with these latencies; `failed` more that got no latency."""
    failures = [FailureDelta(kind, detail, failed)] if failed else []  # type: ignore[arg-type]
    return RequestDelta(
        finished=len(latencies_s),
        refused=refused,
        failed=failed,
        bytes_sent=120 * len(latencies_s),
        bytes_received=400 * len(latencies_s),
        failures=failures,
        statuses={"200": len(latencies_s) - refused} | ({"503": failed} if failed else {}),
        histograms={"latency": encode(latencies_s), "service_time": encode([v * 0.95 for v in latencies_s])},
    )


def build_stage(requests: dict[str, RequestDelta], **ledger: int) -> StageDelta:
    """A balanced stage around these requests, unless `ledger` says otherwise."""
    ended = sum(request.finished + request.failed for request in requests.values())
    dropped, cut_off = ledger.get("dropped", 0), ledger.get("cut_off", 0)
    started = ledger.get("started", ended + cut_off)
    return StageDelta(
        scheduled=ledger.get("scheduled", started + dropped),
        started=started,
        dropped=dropped,
        cut_off=cut_off,
        late=ledger.get("late", 0),
        suspect=ledger.get("suspect", 0),
        requests=requests,
    )


def build_interval(second: int, stage: str | None, stages: dict[str, StageDelta], worker: str = "w0") -> Interval:
    """One second of one process."""
    return Interval(
        worker=worker,
        start_s=float(second),
        end_s=float(second + 1),
        stage=stage,
        asked_rate=None,
        users=10,
        in_flight=3,
        loop_lag_max_s=0.001,
        cpu_ratio=0.2,
        stages=stages,
    )


@dataclass
class Simulation:
    """A service that slows with load, fails a little in the spike, and refuses some."""

    plan: Plan
    seed: int = 7
    failing_stage: str = "spike"

    def messages(self) -> Iterator[Message]:
        """All messages of one process, in order."""
        rng = random.Random(self.seed)
        yield Started(STARTED_UNIX, 1, {"generator": "1"})
        at_s, level = 0.0, 0.0
        for stage in self.plan.profile.stages:
            length_s = stage.duration_s * self.plan.time_scale
            yield StageEvent(stage.name, "begin", at_s)
            wanted = float(stage.users if stage.users is not None else stage.rate or 0)
            for second in range(round(length_s)):
                ramp_s = (stage.ramp_s or 0) * self.plan.time_scale
                now = wanted if second >= ramp_s else level + (wanted - level) * (second + 0.5) / ramp_s
                yield self._second(rng, round(at_s) + second, stage.name, now)
            at_s, level = at_s + length_s, wanted
            yield StageEvent(stage.name, "end", at_s)
            if self.plan.profile.is_open:
                yield Arrivals("w0", stage.name, 50_000, 1.001, 0.99, 0.004, 1.02)
        yield Ended(at_s, "completed")

    def samples(self) -> Iterator[tuple[float, dict[str, float]]]:
        """The target's metrics, once a second."""
        rng = random.Random(self.seed + 1)
        requests = cpu = 0.0
        for second in range(round(self.plan.profile.duration_s * self.plan.time_scale)):
            load = 40 + 20 * math.sin(second / 30)
            requests += load
            cpu += load / 100 + rng.random() / 20
            yield (
                second + 0.4,
                {
                    "requests_total": requests,
                    "cpu_s_total": cpu,
                    "memory_bytes": 9e7 + second * 4e4 + rng.random() * 1e6,
                    "active_sessions": 20.0 + second,
                    "redis_degraded": 1.0 if 150 <= second < 160 else 0.0,
                },
            )

    def _second(self, rng: random.Random, second: int, stage: str, level: float) -> Interval:
        is_open = self.plan.profile.is_open
        mean = level if is_open else level * 0.95
        count = max(0, round(rng.gauss(mean, math.sqrt(mean)))) if mean else 0
        slow = 0.035 * (1 + (level / 90) ** 4) * (1.6 if stage == self.failing_stage else 1.0)
        chats = [rng.lognormvariate(math.log(slow), 0.45) for _ in range(count * 4 // 5)]
        health = [rng.lognormvariate(math.log(0.004), 0.3) for _ in range(count - len(chats))]
        failed = sum(rng.random() < 0.02 for _ in chats) if stage == self.failing_stage else 0
        requests = {"POST /chat": build_request(chats, failed=failed), "GET /health": build_request(health)}
        interval = build_interval(second, stage, {stage: build_stage(requests)})
        return Interval(
            **{
                **{name: getattr(interval, name) for name in interval.__struct_fields__},
                "users": 1 if is_open else round(level),
                "asked_rate": level if is_open else None,
                "in_flight": round(level * slow),
                "cpu_ratio": min(1.0, 0.05 + level / 250 + rng.random() * 0.03),
            }
        )


def run_simulation(simulation: Simulation) -> Tally:
    """The tally of a whole simulated run, its seconds still to be taken."""
    tally = Tally(simulation.plan)
    samples = list(simulation.samples())
    for at_s, sample in samples:
        tally.add_target(at_s, sample)
    for message in simulation.messages():
        tally.add(message)
    return tally
