"""Starts the workers, replaces those that die, and forgets the gauges of the dead."""

import logging
from collections.abc import Callable, Mapping
from socket import socket

from uvicorn.supervisors import Multiprocess

from mock_server.parent.worker import WorkerProcess, build_config
from mock_server.settings import Settings

_log = logging.getLogger(__name__)


class Supervisor(Multiprocess):
    """uvicorn's supervisor with numbered workers; `on_death` is told each worker's process id after it is gone."""

    def __init__(self, service: str, settings: Settings, sockets: list[socket], on_death: Callable[[int], None]):
        super().__init__(build_config(service, settings, 0), sockets)
        self._service = service
        self._settings = settings
        self._on_death = on_death
        self._known: dict[int, int] = {}
        self.failed = False

    def pids(self) -> Mapping[int, int]:
        """Returns worker number → process id, for the workers there are."""
        return dict(self._known)

    def init_processes(self) -> None:
        for worker in range(self.processes_num):
            self.processes.append(self._start(worker))

    def keep_subprocess_alive(self) -> None:
        for index, process in enumerate(self.processes):
            if self.should_exit.is_set():
                return
            if process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                continue
            process.kill()
            process.join()
            assert isinstance(process, WorkerProcess)
            assert process.pid is not None
            self._on_death(process.pid)
            if process.has_failed_to_start:
                _log.error("Worker %d failed to start; stopping.", process.worker)
                self.failed = True
                self.should_exit.set()
                return
            _log.warning("Worker %d (pid %d) died; starting another.", process.worker, process.pid)
            self.processes[index] = self._start(process.worker)

    def _start(self, worker: int) -> WorkerProcess:
        process = WorkerProcess(build_config(self._service, self._settings, worker), self.sockets, worker)
        process.start()
        assert process.pid is not None
        self._known[worker] = process.pid
        return process
