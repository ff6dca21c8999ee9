"""`python -m tests.reliability.soak --duration 30m`: half of what the mock bears, and whether it stays as it is.

Half is by processor: a first burst finds what a chat costs a worker, and the rate is set to use half of one. The
table says what was reached, which is less where the machine has no second processor to spare for the load.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import re
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from mock_server.parent.processes import read_usage
from tests.bench.mock import find_free_port, find_redis_server, mock_environment, running, wait_until_ready
from tests.reliability.slopes import MEBIBYTE, Sample, Trend, find_trend
from tests.reliability.soak_load import Load, has_websockets

CONNECTIONS = 32
STREAMS = 4
CALIBRATION_S = 3.0
MOST_MIB_PER_10_MIN = 1.0
MOST_UNAVAILABLE_RATIO = 0.2
_HEADER = "  time    answers   rate/s    cpu   rss MiB  files  tasks  sessions"
_SUCCESSES = ("200", "stream", "websocket")


@dataclass(frozen=True, slots=True)
class Plan:
    """How long, in seconds; `print_every_s` is between two lines of the table."""

    duration_s: float
    warm_up_s: float
    sample_every_s: float
    print_every_s: float


@dataclass
class Soak:
    """One soak of a running mock."""

    parent_pid: int
    port: int
    metrics_port: int
    plan: Plan
    write: Callable[[str], None] = print
    samples: list[Sample] = field(default_factory=list)
    outcomes: dict[str, int] = field(default_factory=dict)

    async def run(self) -> Trend:
        """Returns the trend after the warm-up."""
        load = Load(self.port, CONNECTIONS)
        streams = []
        if "/chat/stream" in self._fetch(self.port, "/openapi.json"):
            streams += [load.stream_events(number) for number in range(STREAMS)]
        if await has_websockets(self.port):
            streams += [load.talk(number) for number in range(STREAMS)]
        tasks = [asyncio.create_task(work) for work in (load.run(), *streams)]
        try:
            load.rate = await self._find_half(load)
            self.write(f"{load.rate:.0f} chats/s and {len(streams)} clients of streams\n{_HEADER}")
            await self._watch(load)
        finally:
            load.is_over = True
            await asyncio.gather(*tasks)
            self.outcomes = dict(load.outcomes)
        begin_s = self.samples[0].at_s + self.plan.warm_up_s
        return find_trend([sample for sample in self.samples if sample.at_s >= begin_s])

    def failures(self) -> list[str]:
        """Returns what the load met beside success, and how often.

        Some 503 are none: on a crowded machine Redis may take longer than the mock waits for it, and with memory to
        fall back on it would be the turns kept there that were measured.
        """
        most = MOST_UNAVAILABLE_RATIO * sum(self.outcomes.values())
        return [
            f"{count} x {name}"
            for name, count in self.outcomes.items()
            if name not in _SUCCESSES and not (name == "503" and count <= most)
        ]

    async def _find_half(self, load: Load) -> float:
        """Returns the rate that takes half a processor of each worker, by what a chat cost in a first burst."""
        before = await self._sample(load)
        await asyncio.sleep(CALIBRATION_S)
        after = await self._sample(load)
        if after.answers == before.answers:
            raise RuntimeError(f"port {self.port}: no answer within {CALIBRATION_S} s of load")
        return 0.5 * (after.answers - before.answers) / (after.cpu_s - before.cpu_s)

    async def _watch(self, load: Load) -> None:
        started_s = printed_s = time.monotonic()
        printed = await self._sample(load)
        while time.monotonic() - started_s < self.plan.duration_s:
            await asyncio.sleep(self.plan.sample_every_s)
            sample = await self._sample(load)
            self.samples.append(sample)
            if time.monotonic() - printed_s >= self.plan.print_every_s:
                self.write(render_line(sample.at_s - started_s, printed, sample))
                printed, printed_s = sample, time.monotonic()

    async def _sample(self, load: Load) -> Sample:
        text = await asyncio.to_thread(self._fetch, self.metrics_port, "/metrics")
        sums: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for found in family.samples:
                sums[found.name] = sums.get(found.name, 0.0) + found.value
        parent = read_usage(self.parent_pid)
        assert parent is not None, f"the mock (pid {self.parent_pid}) is gone"
        return Sample(
            time.monotonic(),
            int(sums["consoul_process_resident_memory_bytes"]) + parent.resident_bytes,
            int(sums["consoul_process_open_fds"]) + parent.open_files,
            int(sums["consoul_event_loop_tasks"]),
            int(sums["consoul_active_sessions"]),
            sums["consoul_process_cpu_seconds"],
            load.outcomes.total(),
        )

    def _fetch(self, port: int, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            text: str = answer.read().decode()
        return text


def render_line(at_s: float, before: Sample, now: Sample) -> str:
    """Returns one line of the table; rate and processor are those since the line before."""
    length_s = now.at_s - before.at_s
    return (
        f"{at_s:6.0f}  {now.answers:9d}  {(now.answers - before.answers) / length_s:7.0f}  "
        f"{(now.cpu_s - before.cpu_s) / length_s:5.2f}  {now.resident_bytes / MEBIBYTE:8.2f}  "
        f"{now.open_files:5d}  {now.tasks:5d}  {now.sessions}"
    )


def parse_duration(text: str) -> float:
    """Returns the seconds of `90s`, `30m` or `2h`; raises ArgumentTypeError."""
    match = re.fullmatch(r"(\d+)([smh])", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 30m or 2h")
    return int(match[1]) * {"s": 1.0, "m": 60.0, "h": 3600.0}[match[2]]


def plan_of(duration_s: float) -> Plan:
    """Returns how to watch for so long: a warm-up of a third, 5 minutes at most; 300 samples, or one a second."""
    return Plan(duration_s, min(300.0, duration_s / 3), max(1.0, duration_s / 300), min(60.0, duration_s / 6))


def main() -> int:
    """Starts a Redis and a mock, soaks it, prints the trend; returns 1 when something is not flat or failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.reliability.soak", description=__doc__)
    parser.add_argument(
        "--duration", type=parse_duration, default=parse_duration("30m"), help="90s, 30m (default), 2h"
    )
    parser.add_argument("--json", type=Path, help="a file for the samples and the trend")
    given = parser.parse_args()
    with contextlib.ExitStack() as stack:
        redis_port, port = find_free_port(), find_free_port()
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        redis = [find_redis_server(), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        stack.enter_context(running(redis))
        env = mock_environment(port, redis_port) | {
            "CONSOUL_DEFAULT_LIMITS": "1000000/second",
            "CONSOUL_REDIS_FALLBACK_ENABLED": "true",
        }
        mock = stack.enter_context(running([sys.executable, "-m", "mock_server", "consoul"], env))
        wait_until_ready(f"http://127.0.0.1:{port}/ready", mock)
        metrics_port = int(env["CONSOUL_OBSERVABILITY_METRICS_PORT"])
        soak = Soak(mock.pid, port, metrics_port, plan_of(given.duration))
        trend = asyncio.run(soak.run())
    problems = trend.problems(MOST_MIB_PER_10_MIN)
    problems += [
        f"{count} x {name}" for name, count in soak.outcomes.items() if name not in ("200", "stream", "websocket")
    ]
    print(json.dumps({**dataclasses.asdict(trend), "outcomes": soak.outcomes}, indent=2))
    print("flat" if not problems else "NOT FLAT: " + "; ".join(problems))
    if given.json is not None:
        samples = [dataclasses.asdict(sample) for sample in soak.samples]
        result = {"trend": dataclasses.asdict(trend), "outcomes": soak.outcomes, "samples": samples}
        given.json.write_text(json.dumps(result))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
