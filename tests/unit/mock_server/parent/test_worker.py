"""A worker as its parent sees it, without starting one."""

import signal
from typing import Any

import pytest

from mock_server.environment import load_settings
from mock_server.parent import worker as module
from mock_server.parent.worker import WorkerProcess, WorkerServer, build_config


class Pipe:
    """The parent's end: answers what it is told to, when there is something."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers: list[bool] = []

    def send(self, _: Any) -> None:
        self.asked += 1

    def poll(self, timeout_s: float = 0) -> bool:
        return bool(self.answers)

    def recv(self) -> bool:
        return self.answers.pop(0)


class Running:
    exitcode: int | None = None

    def is_alive(self) -> bool:
        return self.exitcode is None


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> WorkerProcess:
    made = WorkerProcess(build_config("consoul", load_settings({}), 0), [], 0)
    monkeypatch.setattr(made, "parent_conn", Pipe())
    monkeypatch.setattr(made, "process", Running())
    return made


def test_a_worker_that_still_imports_is_not_taken_for_one_that_hangs(
    process: WorkerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe: Any = process.parent_conn
    assert [process.is_alive() for _ in range(20)] == [True] * 20
    assert pipe.asked == 1, "answers to earlier questions would pass for later ones"
    monkeypatch.setattr(module, "START_DEADLINE_S", 0.0)
    assert [process.is_alive()] == [False]
    pipe.answers = [True]
    assert [process.is_alive(), process.was_ready] == [True, True]
    assert [process.is_alive(timeout=0)] == [False], "once it serves, it must answer"


def test_only_a_worker_that_never_served_has_failed_to_start(process: WorkerProcess) -> None:
    running: Any = process.process
    found = []
    for code, was_ready in ((1, False), (-signal.SIGKILL, False), (1, True)):
        running.exitcode, process.was_ready = code, was_ready
        found.append(process.has_failed_to_start)
    assert found == [True, False, False]


def test_a_worker_told_to_end_while_its_application_is_made_just_ends() -> None:
    server = WorkerServer(build_config("consoul", load_settings({}), 0))
    server.handle_exit(signal.SIGTERM, None)
    assert server.should_exit
