"""The lab through the commands of the README, with traffic answered and counted by what they start."""

import contextlib
import json
import os
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from mock_server.lab.readiness import wait_until

ROOT = Path(__file__).resolve().parents[2]
PORT_VARIABLES = ("CONSOUL_PORT", "CONSOUL_OBSERVABILITY_METRICS_PORT", "REDIS_PORT", "PROMETHEUS_PORT")

Make = Callable[[str], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in PORT_VARIABLES]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        ports = {name: str(one.getsockname()[1]) for name, one in zip(PORT_VARIABLES, sockets, strict=True)}
    return {**ports, "LAB": "native", "LAB_DIR": str(tmp_path / "lab")}


@pytest.fixture
def make(variables: dict[str, str]) -> Iterator[Make]:
    def run(goal: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            ["make", goal], cwd=ROOT, env={**os.environ, **variables}, capture_output=True, text=True, check=False
        )

    yield run
    run("down")


def query(prometheus_url: str, expression: str) -> float | None:
    with urlopen(f"{prometheus_url}/api/v1/query?query={quote(expression)}") as answer:
        result = json.load(answer)["data"]["result"]
    return float(result[0]["value"][1]) if result else None


def chat(url: str) -> int:
    body = json.dumps({"session_id": "test", "message": "hello"}).encode()
    with urlopen(Request(f"{url}/chat", body, {"Content-Type": "application/json"})) as answer:
        return int(answer.status)


def test_a_lab_made_up_answers_is_scraped_and_goes_without_a_trace(make: Make, variables: dict[str, str]) -> None:
    up = make("up")
    assert up.returncode == 0, up.stderr
    lab = json.loads((Path(variables["LAB_DIR"]) / "lab.json").read_text())

    assert [chat(lab["services"]["consoul"]["url"]) for _ in range(3)] == [200, 200, 200]
    if lab["prometheus_url"] is None:
        assert "Runs without Prometheus" in up.stdout
    else:
        counted = 'consoul_request_total{endpoint="/chat",status="200"}'
        assert wait_until(lambda: query(lab["prometheus_url"], counted) == 3, 20)

    assert make("status").returncode == 0
    assert "mock_server" in make("logs").stdout
    assert make("down").returncode == 0
    assert make("status").returncode == 2
    for name in PORT_VARIABLES:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(variables[name]))) != 0
