"""The order in which a supervisor starts, replaces and buries workers, told by workers that are none."""

import signal
from typing import Any

import pytest

from mock_server.environment import load_settings
from mock_server.parent import supervision
from mock_server.parent.supervision import Supervisor


class Worker:
    """What a supervisor sees of a worker process."""

    def __init__(self, worker: int, pid: int):
        self.worker = worker
        self.pid = pid
        self.started_s = 0.0
        self.was_ready = True
        self.exitcode: int | None = None
        self.told: list[str] = []

    @property
    def has_failed_to_start(self) -> bool:
        return not self.was_ready and self.exitcode is not None

    def is_alive(self, timeout: float = 5) -> bool:
        return self.exitcode is None

    def retire(self) -> None:
        self.told.append("retire")

    def terminate(self) -> None:
        self.told.append("terminate")
        self.exitcode = 0

    def kill(self) -> None:
        self.told.append("kill")
        self.exitcode = self.exitcode if self.exitcode is not None else -signal.SIGKILL

    def join(self) -> None: ...


class Supervised(Supervisor):
    """Starts workers that are none; `are_ready` says whether new ones serve at once."""

    def __init__(self, workers: int) -> None:
        self.buried: list[int] = []
        self.started: list[Worker] = []
        self.are_ready = True
        settings = load_settings({"CONSOUL_WORKERS": str(workers), "REDIS_URL": "redis://127.0.0.1:1"})
        super().__init__("consoul", settings, [], self.buried.append)
        self._workers = [self._start(number) for number in range(workers)]

    def _start(self, worker: int) -> Any:
        process = Worker(worker, 100 + len(self.started))
        process.was_ready = self.are_ready
        self.started.append(process)
        return process

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.keep_subprocess_alive()


@pytest.fixture
def supervised(monkeypatch: pytest.MonkeyPatch) -> Supervised:
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    return Supervised(2)


def test_each_worker_is_replaced_once_and_the_old_one_told_when_the_new_one_serves(supervised: Supervised) -> None:
    supervised.are_ready = False
    supervised.restart_all()
    supervised.tick(2)
    first, second, new = supervised.started
    assert (first.told, dict(supervised.pids())) == ([], {0: 100, 1: 101})
    new.was_ready = supervised.are_ready = True
    supervised.tick(10)
    assert [first.told, second.told] == [["retire"], ["retire"]]
    assert dict(supervised.pids()) == {0: 102, 1: 103}
    assert supervised.buried == [], "they still serve their connections"
    first.exitcode = 0
    supervised.tick()
    assert (supervised.buried, len(supervised.started)) == ([100], 4)


def test_an_old_worker_stays_when_the_new_one_does_not_start(supervised: Supervised) -> None:
    supervised.are_ready = False
    supervised.restart_all()
    supervised.tick()
    supervised.started[-1].exitcode = 1
    supervised.tick(5)
    assert dict(supervised.pids()) == {0: 100, 1: 101}
    assert (supervised.buried, len(supervised.started)) == ([102], 3)
    assert not supervised.should_exit.is_set()


def test_a_worker_that_dies_while_its_replacement_starts_is_not_replaced_twice(supervised: Supervised) -> None:
    supervised.tick()
    supervised.are_ready = False
    supervised.restart_all()
    supervised.tick()
    supervised.started[0].exitcode = -9
    supervised.tick(5)
    assert len(supervised.started) == 3
    supervised.started[2].was_ready = supervised.are_ready = True
    supervised.tick(5)
    assert dict(supervised.pids()) == {0: 102, 1: 103}
    assert supervised.started[0].told == ["kill"]
    assert supervised.buried == [100]


def test_a_replaced_worker_that_does_not_end_is_ended(
    supervised: Supervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "_STOP_DEADLINE_S", -1.0)
    supervised.restart_all()
    supervised.tick(8)
    assert supervised.started[0].told == ["retire", "kill"]
    assert sorted(supervised.buried) == [100, 101]


def test_the_end_is_told_to_replaced_and_new_workers_too(supervised: Supervised) -> None:
    supervised.restart_all()
    supervised.tick(2)
    supervised.are_ready = False
    supervised.tick()
    assert len(supervised.started) == 4
    supervised._end()
    assert [process.told[-1] for process in supervised.started] == ["terminate"] * 4
    assert sorted(supervised.buried) == [100, 101, 102, 103]


def test_two_signals_that_come_together_are_two(supervised: Supervised) -> None:
    supervised.signal_queue += [signal.SIGTERM, signal.SIGTERM]
    supervised.handle_signals()
    assert supervised.should_exit.is_set()
    hanging = supervised.started[0]
    supervised._join([hanging])  # type: ignore[list-item]
    assert hanging.told == ["kill"]
