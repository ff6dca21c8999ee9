"""A real lab on ports of its own, and `python -m loadtests run` against it as a person would call it."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
DEADLINE_S = 60.0
BASE_PROFILE: dict[str, Any] = {
    "description": "What does a test of the instrument ask?",
    "stack": "consoul",
    "stages": [{"name": "hold", "duration": "3s", "users": 5}],
    "mix": {"chat": 1},
    "think_time": "50ms",
    "thresholds": ["p95 < 1s", "error_ratio < 1%"],
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], Any], what: str) -> Any:
    """The first true answer of `condition`, asked again and again until a deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        if answer := condition():
            return answer
        time.sleep(0.05)
    raise AssertionError(f"waited {DEADLINE_S:g} s for {what}")


@dataclass(frozen=True)
class Lab:
    """A lab that is up: the variables that name it, and the state it wrote."""

    environ: dict[str, str]
    state: dict[str, Any]

    @property
    def url(self) -> str:
        url: str = self.state["services"]["consoul"]["url"]
        return url

    def workers(self) -> list[psutil.Process]:
        """The processes of the mock, parent first."""
        port = int(self.environ["CONSOUL_PORT"])
        for process in psutil.process_iter():
            try:
                if "mock_server" in process.cmdline() and str(port) in process.environ().get("CONSOUL_PORT", ""):
                    return [process, *process.children(recursive=True)]
            except psutil.Error:
                continue
        raise AssertionError("the mock of this lab was not found")


@contextmanager
def run_lab(folder: Path, **variables: str) -> Iterator[Lab]:
    """A lab in `folder` on free ports, from `up` to `down`."""
    names = ("CONSOUL_PORT", "CONSOUL_OBSERVABILITY_METRICS_PORT", "REDIS_PORT", "PROMETHEUS_PORT")
    environ = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("CONSOUL_", "TARGET", "API_KEY"))},
        **{name: str(free_port()) for name in names},
        "LAB_DIR": str(folder),
        "LAB": "native",
        "BOOTSTRAP": "no",
        **variables,
    }
    command = [sys.executable, "-m", "mock_server.lab"]
    up = subprocess.run([*command, "up"], cwd=ROOT, env=environ, capture_output=True, text=True, check=False)
    assert up.returncode == 0, up.stdout + up.stderr
    try:
        yield Lab(environ, json.loads((folder / "lab.json").read_text()))
    finally:
        subprocess.run([*command, "down"], cwd=ROOT, env=environ, capture_output=True, check=True)


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with run_lab(tmp_path_factory.mktemp("lab")) as one:
        yield one


@dataclass
class Run:
    """One call of the instrument; `process` while it goes on."""

    process: subprocess.Popen[Any]
    results: Path

    def folder(self) -> Path:
        """Its run folder, once there is one."""
        found: Path = wait_until(lambda: next(iter(self.results.glob("*-consoul-*")), None), "a run folder")
        return found

    def wait_for_load(self) -> None:
        """Returns when the first second of load is recorded."""
        series = self.folder() / "series.jsonl"
        wait_until(lambda: series.exists() and series.stat().st_size, "the first second of load")

    def generator(self) -> psutil.Process:
        """The generating process."""
        children = psutil.Process(self.process.pid).children()
        return next(child for child in children if "locust" in child.cmdline())

    def interrupt(self) -> None:
        self.process.send_signal(signal.SIGINT)

    def finish(self) -> "Outcome":
        out, err = self.process.communicate(timeout=DEADLINE_S)
        return Outcome(self.process.returncode, out, err, self.results)


@dataclass(frozen=True)
class Outcome:
    """How a call of the instrument ended."""

    code: int
    out: str
    err: str
    results: Path

    @property
    def folder(self) -> Path:
        return next(self.results.glob("*-consoul-*"))

    @property
    def result(self) -> dict[str, Any]:
        loaded: dict[str, Any] = json.loads((self.folder / "run.json").read_text())
        return loaded


@pytest.fixture
def start_run(lab: Lab, tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts the instrument on a profile given by the keys that differ from the base, and on extra variables."""
    started: list[subprocess.Popen[str]] = []

    def start(profile: dict[str, Any] | str | None = None, **variables: str) -> Run:
        if isinstance(profile, str):
            path = tmp_path / "asked.yaml"
            path.write_text(profile)
        else:
            path = tmp_path / "asked.yaml"
            path.write_text(yaml.safe_dump({"name": "asked", **BASE_PROFILE, **(profile or {})}))
        results = tmp_path / f"results-{len(started)}"
        process = subprocess.Popen(
            [sys.executable, "-m", "loadtests", "run", str(path)],
            cwd=ROOT,
            env={**lab.environ, "RESULTS_DIR": str(results), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return Run(process, results)

    yield start
    for process in started:
        if process.poll() is None:
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
            process.kill()
            process.communicate()


@pytest.fixture
def finish_soundly(start_run: Callable[..., Run]) -> Callable[..., Outcome]:
    """Runs to the end, again (three times at most) when the watchdog says that this machine was busy elsewhere.

    The tests share two cores with whatever else runs; that the watchdog speaks up then is what it is for.
    """

    def finish(profile: dict[str, Any] | None = None, **variables: str) -> Outcome:
        for _ in range(3):
            outcome = start_run(profile, **variables).finish()
            broken = {check["name"] for check in outcome.result["watchdog"]["checks"] if check["outcome"] == "broken"}
            if broken != {"timing"}:
                break
        return outcome

    return finish
