"""Starts the workers, replaces those that die, forgets the gauges of the dead, and ends them all."""

import logging
import signal
import time
from collections.abc import Callable, Mapping
from socket import socket

from uvicorn.supervisors import Multiprocess

from mock_server.parent.pacing import RestartPacer
from mock_server.parent.worker import GRACEFUL_SHUTDOWN_S, WorkerProcess, build_config
from mock_server.settings import Settings

_log = logging.getLogger(__name__)
_CHECK_EVERY_S = 0.5
_LISTEN_EVERY_S = 0.05
# Beyond what a worker gives its requests; then it hangs.
_STOP_DEADLINE_S = GRACEFUL_SHUTDOWN_S + 5
_ENDS = (signal.SIGINT, signal.SIGTERM)


class Supervisor(Multiprocess):
    """uvicorn's supervisor with numbered workers; `on_death` is told each worker's process id after it is gone.

    SIGTERM and SIGINT let requests end, the second one does not wait; SIGHUP replaces the workers one by one.
    """

    def __init__(
        self,
        service: str,
        settings: Settings,
        sockets: list[socket],
        on_death: Callable[[int], None],
    ):
        super().__init__(build_config(service, settings, 0), sockets)
        self._service = service
        self._settings = settings
        self._on_death = on_death
        self._pacer = RestartPacer()
        self._workers: list[WorkerProcess] = []
        self._due_s: dict[int, float] = {}
        self._has_served = False
        self.failed = False

    def pids(self) -> Mapping[int, int]:
        """Returns worker number → process id, for the workers there are."""
        return {process.worker: process.pid for process in self._workers if process.pid is not None}

    def run(self) -> None:
        """Runs until told to stop or until no worker can start."""
        self._workers = [self._start(worker) for worker in range(self.processes_num)]
        while not self.should_exit.is_set():
            self._listen()
            self.handle_signals()
            self.keep_subprocess_alive()
        for process in self._workers:
            process.terminate()
        self._join(self._workers)

    def keep_subprocess_alive(self) -> None:
        now_s = time.monotonic()
        for index, process in enumerate(self._workers):
            if self.should_exit.is_set():
                return
            if process.worker in self._due_s:
                if now_s >= self._due_s[process.worker]:
                    del self._due_s[process.worker]
                    self._workers[index] = self._start(process.worker)
            elif not process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                self._bury(process, now_s)
            self._has_served = self._has_served or process.was_ready

    def restart_all(self) -> None:
        """Replaces each worker, the new one serving before the old one is told to end."""
        for index, old in enumerate(self._workers):
            new = self._start(old.worker)
            while new.is_alive() and not new.was_ready and not self._is_told_to_end():
                time.sleep(_LISTEN_EVERY_S)
            if not new.was_ready:
                new.kill()
                self._forget(new)
                _log.error("The new worker %d did not start; the old one stays.", old.worker)
                return
            self._workers[index] = new
            old.terminate()
            self._join([old])
            self._forget(old)

    def handle_ttin(self) -> None:
        """Changes nothing: the number of workers is a setting."""

    def handle_ttou(self) -> None:
        """Changes nothing: the number of workers is a setting."""

    def _start(self, worker: int) -> WorkerProcess:
        config = build_config(self._service, self._settings, worker)
        process = WorkerProcess(config, self.sockets, worker)
        process.start()
        return process

    def _bury(self, process: WorkerProcess, now_s: float) -> None:
        process.kill()
        self._forget(process)
        if process.has_failed_to_start and not self._has_served:
            _log.error("Worker %d failed to start; stopping.", process.worker)
            self.failed = True
            self.should_exit.set()
            return
        delay_s = self._pacer.delay_s(process.worker, now_s - process.started_s)
        self._due_s[process.worker] = now_s + delay_s
        _log.warning(
            "Worker %d (pid %d) died; starting another in %g s.", process.worker, process.pid, max(0.5, delay_s)
        )

    def _forget(self, process: WorkerProcess) -> None:
        process.join()
        assert process.pid is not None
        self._on_death(process.pid)

    def _join(self, processes: list[WorkerProcess]) -> None:
        """Returns when all have ended; uses force on a second signal, or when they take longer than they may."""
        deadline_s = time.monotonic() + _STOP_DEADLINE_S
        while any(process.exitcode is None for process in processes):
            time.sleep(_LISTEN_EVERY_S)
            if self._is_told_to_end() or time.monotonic() > deadline_s:
                _log.warning("Ending the workers at once.")
                for process in processes:
                    process.kill()
                    process.join()

    def _listen(self) -> None:
        """Waits until it is time to look after the workers, but not past a signal."""
        end_s = time.monotonic() + _CHECK_EVERY_S
        while not self.signal_queue and time.monotonic() < end_s:
            time.sleep(_LISTEN_EVERY_S)

    def _is_told_to_end(self) -> bool:
        return any(number in _ENDS for number in self.signal_queue)
