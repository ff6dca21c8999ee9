"""`python -m tests.bench.sockets`: tokens a second over many WebSockets, and what idle ones cost in memory.

One mock worker has one core, the client the other. `full speed` asks for answers without a pause, one after another;
`paced` asks once for answers with a fixed gap, and tells how exactly tokens came. On a machine that does other things
the tokens for each second of the worker's processor time are the figure to look at.
"""

import argparse
import base64
import contextlib
import itertools
import json
import os
import resource
import select
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.mock import BenchError, find_free_port, pin, running, wait_until_ready
from tests.reliability.raw_websocket import TEXT, build_frame

CONNECTIONS = 500
TOKENS = 200
IDLE = 10_000
GAP_S = 0.005
ASK = build_frame(TEXT, b'{"type":"message","content":"go"}')
# Ends each answer; counted instead of parsing every frame, so that the client keeps up with the server.
DONE = b'{"type":"done"'
TOKEN = b'{"type":"token"'


@dataclass(frozen=True, slots=True)
class Server:
    """A running mock: its port, and the process id of its only worker."""

    port: int
    worker: int

    def rss_bytes(self) -> int:
        """Returns the worker's resident memory."""
        return int(Path(f"/proc/{self.worker}/statm").read_text().split()[1]) * resource.getpagesize()

    def cpu_s(self) -> float:
        """Returns the processor time the worker has used."""
        fields = Path(f"/proc/{self.worker}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def serving(core: str, total_s: float, tokens: int) -> Iterator[Server]:
    """Runs a mock with one worker on `core`, in memory, whose answers have `tokens` tokens over `total_s`."""
    port = find_free_port()
    custom = {"total_s": [total_s, total_s], "first_token_share": 1 / tokens, "tokens": [tokens, tokens]}
    own = ("CONSOUL_", "MOCK_", "REDIS_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(own)} | {
        "CONSOUL_PORT": str(port),
        "CONSOUL_OBSERVABILITY_METRICS_PORT": str(find_free_port()),
        "CONSOUL_DEFAULT_LIMITS": "1000000/second",
        "CONSOUL_MAX_WEBSOCKET_CONNECTIONS": str(2 * IDLE),
        "CONSOUL_MAX_HISTORY_MESSAGES": "2",
        "CONSOUL_BACKLOG": "4096",
        "HTTPX_MAX_CONNECTIONS": str(CONNECTIONS),
        "MOCK_PROVIDER_PROFILE": "custom",
        "MOCK_PROVIDER_CUSTOM": json.dumps(custom),
    }
    with running([*pin(core), sys.executable, "-m", "mock_server", "consoul"], env) as mock:
        wait_until_ready(f"http://127.0.0.1:{port}/ready", mock)
        children = Path(f"/proc/{mock.pid}/task/{mock.pid}/children").read_text().split()
        workers = [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        yield Server(port, workers[0])


def connect(port: int, name: str) -> socket.socket:
    """Returns an upgraded connection, not blocking."""
    sock = socket.create_connection(("127.0.0.1", port), timeout=30)
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [f"GET /ws/chat/{name} HTTP/1.1", "Host: bench", "Upgrade: websocket", "Connection: Upgrade"]
    lines += [f"Sec-WebSocket-Key: {key}", "Sec-WebSocket-Version: 13", "", ""]
    sock.sendall("\r\n".join(lines).encode())
    answer = b""
    while b"\r\n\r\n" not in answer:
        data = sock.recv(4096)
        if not data:
            raise BenchError("the mock closed a connection in its handshake")
        answer += data
    if not answer.startswith(b"HTTP/1.1 101"):
        raise BenchError(f"the handshake was answered with {answer.splitlines()[0].decode()}")
    sock.setblocking(False)
    return sock


class Clients:
    """Open connections, read as fast as they can be."""

    def __init__(self, port: int, count: int):
        self._by_fileno = {}
        self._poll = select.epoll()
        for number in range(count):
            sock = connect(port, f"bench-{number}")
            self._by_fileno[sock.fileno()] = sock
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def __enter__(self) -> "Clients":
        return self

    def __exit__(self, *_: object) -> None:
        for sock in self._by_fileno.values():
            sock.close()
        self._poll.close()

    def ask_all(self) -> None:
        """Asks on every connection."""
        for sock in self._by_fileno.values():
            sock.send(ASK)

    def read(self, until_s: float, *, ask_again: bool) -> tuple[int, dict[int, list[float]]]:
        """Returns the tokens read until the monotonic time `until_s`, and when each connection got something."""
        tokens = 0
        arrivals: dict[int, list[float]] = {fileno: [] for fileno in self._by_fileno}
        while (now_s := time.monotonic()) < until_s:
            for fileno, _ in self._poll.poll(until_s - now_s):
                sock = self._by_fileno[fileno]
                data = sock.recv(262_144)
                if not data:
                    raise BenchError("the mock closed a connection")
                # A frame cut in two between reads is missed now and then: the figure errs on the low side.
                tokens += data.count(TOKEN)
                arrivals[fileno].append(time.monotonic())
                if ask_again and DONE in data:
                    sock.send(ASK)
        return tokens, arrivals


def measure_full_speed(core: str, runs: int, seconds: float) -> list[float]:
    """Returns tokens per second of the worker's processor time, one figure a run."""
    found = []
    with serving(core, 0.0, TOKENS) as server, Clients(server.port, CONNECTIONS) as clients:
        clients.ask_all()
        clients.read(time.monotonic() + 2, ask_again=True)
        for number in range(1, runs + 1):
            cpu_s, began_s = server.cpu_s(), time.monotonic()
            tokens, _ = clients.read(began_s + seconds, ask_again=True)
            cpu_s = server.cpu_s() - cpu_s
            took_s = time.monotonic() - began_s
            found.append(tokens / cpu_s)
            print(
                f"full speed, run {number}: {tokens / took_s:8.0f} tokens/s on the clock, worker "
                f"{cpu_s / took_s:4.0%} of its core, {tokens / cpu_s:8.0f} tokens for each second of it",
                flush=True,
            )
    return found


def measure_paced(core: str, gap_s: float, seconds: float) -> None:
    """Prints how exactly tokens come when every connection is due one each `gap_s`."""
    tokens = int((seconds + 4) / gap_s)
    with serving(core, tokens * gap_s, tokens) as server, Clients(server.port, CONNECTIONS) as clients:
        clients.ask_all()
        clients.read(time.monotonic() + 2, ask_again=False)
        cpu_s, began_s = server.cpu_s(), time.monotonic()
        count, arrivals = clients.read(began_s + seconds, ask_again=False)
        took_s, cpu_s = time.monotonic() - began_s, server.cpu_s() - cpu_s
    gaps_s = [b - a for times in arrivals.values() for a, b in itertools.pairwise(times)]
    cuts = statistics.quantiles(gaps_s, n=100)
    print(
        f"paced, {CONNECTIONS} x one each {gap_s * 1000:g} ms: {count / took_s:.0f} of {CONNECTIONS / gap_s:.0f} "
        f"tokens/s, worker {cpu_s / took_s:.0%} of its core, {count / cpu_s:.0f} tokens for each second of it, "
        f"gaps p50 {cuts[49] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms",
        flush=True,
    )


def measure_idle(core: str, count: int) -> None:
    """Prints what `count` idle connections cost the worker, and how long one chat takes among them."""
    needed = count + 200
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < needed:
        raise BenchError(f"{count} connections need {needed} open files; `ulimit -Hn` is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    with serving(core, 0.0, TOKENS) as server:
        with Clients(server.port, 10) as clients:
            clients.ask_all()
            clients.read(time.monotonic() + 1, ask_again=False)
        before_bytes = server.rss_bytes()
        began_s = time.monotonic()
        with Clients(server.port, count):
            took_s = time.monotonic() - began_s
            # One whole round of pings.
            cpu_s = server.cpu_s()
            time.sleep(20)
            cpu_s = server.cpu_s() - cpu_s
            rss_bytes = server.rss_bytes()
    print(
        f"{count} idle connections: {rss_bytes / 2**20:.0f} MiB in all, "
        f"{(rss_bytes - before_bytes) / count / 1024:.1f} KiB each, opened in {took_s:.1f} s; "
        f"pings take {cpu_s / 20:.1%} of a core",
        flush=True,
    )


def main() -> int:
    """Prints every figure and the median; returns 1 when it could not measure."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    parser = argparse.ArgumentParser(prog="python -m tests.bench.sockets", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--idle", type=int, default=IDLE)
    parser.add_argument("--server-core", default=str(cores[0]) if cores else "")
    parser.add_argument("--client-core", default=str(cores[-1]) if cores else "")
    given = parser.parse_args()
    if given.client_core and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {int(given.client_core)})
    try:
        full = measure_full_speed(given.server_core, given.runs, given.seconds)
        measure_paced(given.server_core, GAP_S, given.seconds)
        measure_idle(given.server_core, given.idle)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    print(f"tokens for each second of a core, full speed: median {statistics.median(full):.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
