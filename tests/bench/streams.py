"""`python -m tests.bench.streams`: how well one worker of the mock keeps the pace of 500 streams, and its greatest.

Paced: each stream has a token each 20 ms. A gap's error is how far the time between two tokens, as the client reads
them, is from that; the client's own delays are in it. Full: tokens are due faster than one core can send them.
"""

import argparse
import asyncio
import contextlib
import functools
import itertools
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import uvloop

from tests.bench.mock import BenchError, find_free_port, mock_environment, pin, running, wait_until_ready

STREAMS = 500
GAP_S = 0.02
TOKENS = 200
# 500 streams with a token each millisecond ask for 500,000 tokens a second.
FULL_GAP_S = 0.001
FULL_TOKENS = 4000
DEADLINE_S = 120.0
_TOKEN = b"event: token\n"
_DONE = b"event: done\n"


@dataclass(slots=True)
class Stream(asyncio.Protocol):
    """One stream as a client reads it: (moment, tokens) for each piece; the end of what came is kept for the next."""

    request: bytes
    start_s: float
    ended: asyncio.Future[None]
    pieces: list[tuple[float, int]] = field(default_factory=list)
    rest: bytes = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none of asyncio's classes.
        write = cast(asyncio.Transport, transport).write
        asyncio.get_running_loop().call_later(max(0.0, self.start_s - time.perf_counter()), write, self.request)

    def data_received(self, data: bytes) -> None:
        now_s = time.perf_counter()
        data = self.rest + data
        # An event's name may be cut in two: what could be the beginning of one is looked at again.
        self.rest = data[-len(_TOKEN) + 1 :]
        tokens = data.count(_TOKEN)
        if tokens:
            self.pieces.append((now_s, tokens))
        if _DONE in data and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ended.done():
            self.ended.set_exception(BenchError("a stream broke off before it was done"))


@dataclass(frozen=True, slots=True)
class Measured:
    """What 500 streams gave: errors of gaps in seconds, tokens a second, the worker's share of a core."""

    p50_error_s: float
    p99_error_s: float
    greatest_error_s: float
    tokens_rate: float
    cpu_ratio: float


async def load(port: int, pid: int, gap_s: float, tokens: int) -> Measured:
    """Runs the streams, begun evenly over one gap or a second, and measures while all of them run."""
    loop = asyncio.get_running_loop()
    start_s = time.perf_counter() + 1.0
    streams = []
    for number in range(STREAMS):
        begin = functools.partial(Stream, build_request(number), start_s + number / STREAMS, loop.create_future())
        _, stream = await loop.create_connection(begin, "127.0.0.1", port)
        streams.append(stream)
    await asyncio.sleep(start_s + 1.0 - time.perf_counter())
    cpu_s, since_s = read_cpu_s(pid), time.perf_counter()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.gather(*(stream.ended for stream in streams))
    ended_s = time.perf_counter()
    cpu_ratio = (read_cpu_s(pid) - cpu_s) / (ended_s - since_s)
    total = sum(count for stream in streams for _, count in stream.pieces)
    if total != STREAMS * tokens:
        raise BenchError(f"{total} tokens came where {STREAMS * tokens} were to")
    errors_s = sorted(error_s for stream in streams for error_s in gap_errors(stream.pieces, gap_s))
    percentiles = statistics.quantiles(errors_s, n=100)
    return Measured(percentiles[49], percentiles[98], errors_s[-1], total / (ended_s - start_s), cpu_ratio)


def build_request(number: int) -> bytes:
    """Returns the bytes that ask for stream `number`, as a client of the lab's own tier."""
    body = json.dumps({"session_id": f"bench-{number}", "message": "How is the pace?"}).encode()
    head = ["POST /chat/stream HTTP/1.1", "Host: bench", "X-API-Key: load-lab", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def gap_errors(pieces: list[tuple[float, int]], gap_s: float) -> Iterator[float]:
    """Yields by how much each gap of a stream is off; tokens that came in one piece had none between them."""
    for (before_s, _), (now_s, count) in itertools.pairwise(pieces):
        yield abs(now_s - before_s - gap_s)
        yield from [gap_s] * (count - 1)


def read_cpu_s(pid: int) -> float:
    """Returns the processor time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def find_worker(parent: int) -> int:
    """Returns the process id of the one worker of a mock."""
    for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split():
        if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    raise BenchError("the mock has no worker")


def measure(server_core: str, gap_s: float, tokens: int) -> Measured:
    """Starts one mock worker on memory state whose tokens are `gap_s` apart, and loads it."""
    total_s = gap_s * tokens
    port = find_free_port()
    profile = {"total_s": [total_s, total_s], "first_token_share": 1 / tokens, "tokens": [tokens, tokens]}
    environment = {name: value for name, value in mock_environment(port, 0).items() if "REDIS" not in name} | {
        "MOCK_PROVIDER_PROFILE": "custom",
        "MOCK_PROVIDER_CUSTOM": json.dumps(profile),
        "HTTPX_MAX_CONNECTIONS": str(STREAMS),
    }
    with contextlib.ExitStack() as stack:
        command = [*pin(server_core), sys.executable, "-m", "mock_server", "consoul"]
        mock = stack.enter_context(running(command, environment))
        wait_until_ready(f"http://127.0.0.1:{port}/ready", mock)
        return uvloop.run(load(port, find_worker(mock.pid), gap_s, tokens))


def main() -> int:
    """Prints each run and the medians; returns 1 when it could not measure."""
    cores = sorted(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(prog="python -m tests.bench.streams", description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--server-core", default=str(cores[0]))
    parser.add_argument("--client-core", type=int, default=cores[-1])
    given = parser.parse_args()
    os.sched_setaffinity(0, {given.client_core})
    paced, full = [], []
    try:
        for number in range(1, given.runs + 1):
            paced.append(measure(given.server_core, GAP_S, TOKENS))
            full.append(measure(given.server_core, FULL_GAP_S, FULL_TOKENS))
            print(f"run {number} paced: {_describe(paced[-1])}")
            print(f"run {number} full:  {_describe(full[-1])}", flush=True)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    p99_s = statistics.median(one.p99_error_s for one in paced)
    rate = statistics.median(one.tokens_rate for one in full)
    cpu = statistics.median(one.cpu_ratio for one in paced)
    print(f"median: gap error p99 {p99_s * 1000:.2f} ms at {STREAMS / GAP_S:,.0f} tokens/s on {cpu:.0%} of a core")
    print(f"median: {rate:,.0f} tokens/s at full speed over {STREAMS} streams")
    return 0


def _describe(one: Measured) -> str:
    errors = (one.p50_error_s, one.p99_error_s, one.greatest_error_s)
    p50, p99, greatest = (f"{error_s * 1000:.2f}" for error_s in errors)
    error = f"gap error p50 {p50}, p99 {p99}, max {greatest} ms"
    return f"{one.tokens_rate:,.0f} tokens/s on {one.cpu_ratio:.0%} of a core, {error}"


if __name__ == "__main__":
    sys.exit(main())
