"""The README's commands from a fresh clone with a virtual environment of its own; nothing is left behind."""

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

ROOT = Path(__file__).resolve().parents[2]
PORTS = ("CONSOUL_PORT", "CONSOUL_OBSERVABILITY_METRICS_PORT", "REDIS_PORT", "PROMETHEUS_PORT", "LOCUST_UI_PORT")


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]
    finally:
        for one in sockets:
            one.close()


@dataclass(frozen=True)
class Clone:
    """A checkout nobody has installed anything into."""

    path: Path
    environ: dict[str, str]

    def make(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", *arguments],
            cwd=self.path,
            env=self.environ | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )

    def results(self) -> list[dict[str, Any]]:
        return [json.loads(path.read_text()) for path in sorted((self.path / "results").glob("*/run.json"))]


@pytest.fixture
def clone(tmp_path: Path) -> Iterator[Clone]:
    path = tmp_path / "lab"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(path)], check=True)
    ports = {name: str(port) for name, port in zip(PORTS, free_ports(len(PORTS)), strict=True)}
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("CONSOUL_", "LAB", "MAKE", "MFLAGS", "TARGET", "VIRTUAL_ENV", "PYTEST"))
    }
    made = Clone(path, inherited | ports | {"LAB": "native"})
    yield made
    made.make("down")


def test_the_readme_from_a_fresh_clone_to_make_down(clone: Clone) -> None:
    up_answers_and_may_be_repeated(clone)
    series_ends_in_a_verdict_with_every_request_accounted_for(clone)
    snapshot_and_report_are_made(clone)
    web_ui_runs_the_same_profile_and_ends_in_a_result(clone)
    down_leaves_no_port(clone)


def up_answers_and_may_be_repeated(clone: Clone) -> None:
    for _ in range(2):
        up = clone.make("up")
        assert up.returncode == 0, up.stdout + up.stderr
        assert f"http://127.0.0.1:{clone.environ['CONSOUL_PORT']}" in up.stdout


def series_ends_in_a_verdict_with_every_request_accounted_for(clone: Clone) -> None:
    load = clone.make("test-load", TIME_SCALE="0.05")
    (result,) = clone.results()
    total = next(row for row in result["ledger"] if row["stage"] is None)
    assert result["profile"]["name"] == "load"
    assert total["is_balanced"]
    assert total["started"] > 500
    assert result["reconciliation"]["unexplained"] == 0
    assert result["reconciliation"]["counted"] == total["finished"] + total["failed"]
    # A machine busy with something else makes the run invalid, and that is the honest answer; nothing else is.
    assert result["verdict"]["name"] in {"pass", "invalid"}, load.stdout
    assert (load.returncode == 0) == (result["verdict"]["name"] == "pass")
    if result["verdict"]["name"] == "invalid":
        assert "timing" in result["verdict"]["why"]


def snapshot_and_report_are_made(clone: Clone) -> None:
    assert "kernel" in clone.make("snapshot").stdout
    report = clone.make("report")
    assert report.returncode == 0, report.stderr
    assert report.stdout.strip().endswith("report.html")


def web_ui_runs_the_same_profile_and_ends_in_a_result(clone: Clone) -> None:
    before = len(clone.results())
    process = subprocess.Popen(
        ["make", "test-load-ui", "PROFILE=smoke"],
        cwd=clone.path,
        env=clone.environ | {"TIME_SCALE": "0.1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        _start_in_ui(int(clone.environ["LOCUST_UI_PORT"]))
        _wait(lambda: len(clone.results()) > before)
    finally:
        os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
        out, _ = process.communicate(timeout=60)
    result = clone.results()[-1]
    assert result["profile"]["name"] == "smoke", out
    assert result["verdict"]["name"] == "insufficient"
    assert result["reconciliation"]["unexplained"] == 0


def _start_in_ui(port: int) -> None:
    form = urlencode({"user_count": 1, "spawn_rate": 1}).encode()

    def press_start() -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{port}/swarm", form, timeout=5) as answer:
                return bool(json.load(answer)["success"])
        except OSError:
            return False

    _wait(press_start)


def _wait(condition: Any) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def down_leaves_no_port(clone: Clone) -> None:
    assert clone.make("down").returncode == 0
    for name in PORTS:
        with socket.socket() as probe:
            assert probe.connect_ex(("127.0.0.1", int(clone.environ[name]))) != 0, name
