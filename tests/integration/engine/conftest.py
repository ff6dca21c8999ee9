"""A real target and a real generating process, each in a subprocess, for the tests of the engine."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from loadtests import wire
from loadtests.model import Plan, Profile

ROOT = Path(__file__).resolve().parents[3]
_BIN = Path(sys.executable).parent


@dataclass
class Target:
    """A running target."""

    process: subprocess.Popen[bytes]
    url: str

    def count(self) -> dict[str, int]:
        """What the target says it served."""
        with urllib.request.urlopen(f"{self.url}/count", timeout=5) as answer:
            counted: dict[str, int] = json.load(answer)
            return counted

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)


@dataclass
class Child:
    """A generating process and what it wrote."""

    process: subprocess.Popen[bytes]
    pipe: Any
    messages: list[wire.Message] = field(default_factory=list)
    errors: str = ""

    def read_until(self, wanted: Callable[[wire.Message], bool]) -> wire.Message:
        """Reads messages up to the first one wanted; the child's own end bounds the wait."""
        for line in self.pipe:
            message = wire.decode(line)
            self.messages.append(message)
            if wanted(message):
                return message
        raise AssertionError(f"the generator ended first: {self.messages[-3:]} {self.finish().errors}")

    def finish(self) -> "Child":
        """Reads the rest and waits for the end."""
        self.messages += [wire.decode(line) for line in self.pipe]
        _, errors = self.process.communicate(timeout=30)
        self.errors = errors.decode()
        return self

    def of(self, kind: type[Any]) -> list[Any]:
        """Messages of one kind."""
        return [message for message in self.messages if isinstance(message, kind)]

    def ledger(self, stage: str | None = None) -> Counter[str]:
        """Sums over all intervals, of one stage or of all, with failures by kind as `failed:KIND`."""
        total: Counter[str] = Counter()
        for interval in self.of(wire.Interval):
            for name, delta in interval.stages.items():
                if stage not in (None, name):
                    continue
                for key in ("scheduled", "started", "dropped", "cut_off", "late", "suspect"):
                    total[key] += getattr(delta, key)
                for request in delta.requests.values():
                    total.update(finished=request.finished, failed=request.failed, refused=request.refused)
                    total.update({f"failed:{failure.kind}": failure.count for failure in request.failures})
        return total


def assert_balanced(ledger: Counter[str]) -> None:
    """The two equations that must hold over a run."""
    assert ledger["scheduled"] == ledger["started"] + ledger["dropped"], ledger
    assert ledger["started"] == ledger["finished"] + ledger["failed"] + ledger["cut_off"], ledger


@pytest.fixture
def start_target(tmp_path: Path) -> Iterator[Callable[..., Target]]:
    """Starts the tiny target on a free port, with environment variables of its own."""
    started: list[subprocess.Popen[bytes]] = []

    def start(**environment: str) -> Target:
        command = [sys.executable, str(Path(__file__).parent / "target.py")]
        process = subprocess.Popen(command, env=os.environ | environment, stdout=subprocess.PIPE)
        started.append(process)
        assert process.stdout is not None
        # The socket listens before the port is printed: who connects now is served as soon as the server runs.
        return Target(process, f"http://127.0.0.1:{int(process.stdout.readline())}")

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def start_child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Starts a generating process on a profile given as keys, as the parent process does."""
    started: list[Child] = []

    def start(url: str, time_scale: float = 1.0, **keys: Any) -> Child:
        base = {"name": "test", "description": "a run of a test", "stack": "consoul", "mix": {"chat": 1}}
        profile = Profile.model_validate(base | keys)
        plan = Plan(run_id="run", short_id="t1", profile=profile, time_scale=time_scale, targets={"consoul": url})
        path = tmp_path / "plan.json"
        path.write_text(plan.model_dump_json())
        reader, writer = os.pipe()
        command = [str(_BIN / "locust"), "-f", "loadtests/locustfile.py", "--plan", str(path), "--headless"]
        process = subprocess.Popen(
            [*command, "--wire-fd", str(writer), "--loglevel", "WARNING", "--only-summary"],
            cwd=ROOT,
            pass_fds=[writer],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        os.close(writer)
        child = Child(process, os.fdopen(reader, "rb"))
        started.append(child)
        return child

    yield start
    for child in started:
        child.process.kill()
        child.process.communicate()
        child.pipe.close()
