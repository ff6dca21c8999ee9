"""Starts the workers, replaces those that die or are to be renewed, forgets the gauges of the dead, ends them all."""

import logging
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from socket import socket

from uvicorn.supervisors import Multiprocess

from mock_server.parent.draining import LONGEST_DRAIN_S
from mock_server.parent.pacing import RestartPacer
from mock_server.parent.worker import WorkerProcess, build_config
from mock_server.settings import Settings

_log = logging.getLogger(__name__)
_CHECK_EVERY_S = 0.5
_LISTEN_EVERY_S = 0.05
# Beyond what a worker gives its requests; then it hangs.
_STOP_DEADLINE_S = LONGEST_DRAIN_S + 5
_ENDS = (signal.SIGINT, signal.SIGTERM)


class Supervisor(Multiprocess):
    """uvicorn's supervisor with numbered workers; `on_death` is told each worker's process id after it is gone.

    SIGTERM and SIGINT let requests end, the second one does not wait; SIGHUP replaces the workers one by one. Nothing
    here waits for a worker, so that each signal is acted on at once.
    """

    def __init__(
        self,
        service: str,
        settings: Settings,
        sockets: list[socket],
        on_death: Callable[[int], None],
        control_folder: Path | None = None,
    ):
        super().__init__(build_config(service, settings, 0), sockets)
        self._service = service
        self._settings = settings
        self._on_death = on_death
        self._control_folder = control_folder
        self._pacer = RestartPacer()
        self._workers: list[WorkerProcess] = []
        self._due_s: dict[int, float] = {}
        # Numbers of the workers to replace, the new one that starts now, the old ones with when they must be gone.
        self._to_replace: list[int] = []
        self._incoming: WorkerProcess | None = None
        self._retired: dict[WorkerProcess, float] = {}
        self._has_served = False
        self._told_to_end = 0
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
        self._end()

    def keep_subprocess_alive(self) -> None:
        now_s = time.monotonic()
        self._bury_retired(now_s)
        self._replace_next(now_s)
        for index, process in enumerate(self._workers):
            if self.should_exit.is_set():
                return
            if process.worker in self._due_s:
                if now_s >= self._due_s[process.worker] and not self._is_incoming(process.worker):
                    del self._due_s[process.worker]
                    self._workers[index] = self._start(process.worker)
            elif not process.is_alive(timeout=self.config.timeout_worker_healthcheck):
                self._bury(process, now_s)
            self._has_served = self._has_served or process.was_ready

    def restart_all(self) -> None:
        """Has each worker replaced, the new one serving before the old one is told."""
        self._to_replace = [process.worker for process in self._workers]

    def handle_int(self) -> None:
        """Ends the workers."""
        self._told_to_end += 1
        self.should_exit.set()

    def handle_term(self) -> None:
        """Ends the workers."""
        self.handle_int()

    def handle_ttin(self) -> None:
        """Changes nothing: the number of workers is a setting."""

    def handle_ttou(self) -> None:
        """Changes nothing: the number of workers is a setting."""

    def _start(self, worker: int) -> WorkerProcess:
        config = build_config(self._service, self._settings, worker, self._control_folder)
        process = WorkerProcess(config, self.sockets, worker)
        process.start()
        return process

    def _is_incoming(self, worker: int) -> bool:
        return self._incoming is not None and self._incoming.worker == worker

    def _replace_next(self, now_s: float) -> None:
        """Takes the replacement of workers one step further."""
        new = self._incoming
        if new is None:
            if self._to_replace:
                self._incoming = self._start(self._to_replace.pop(0))
            return
        if not new.is_alive(timeout=self.config.timeout_worker_healthcheck):
            _log.error("The new worker %d did not start; the old one stays.", new.worker)
            new.kill()
            self._forget(new)
            self._incoming = None
            self._to_replace.clear()
        elif new.was_ready:
            index = next(index for index, old in enumerate(self._workers) if old.worker == new.worker)
            old, self._workers[index], self._incoming = self._workers[index], new, None
            if self._due_s.pop(new.worker, None) is None:
                self._retired[old] = now_s + _STOP_DEADLINE_S
                old.retire()

    def _bury_retired(self, now_s: float) -> None:
        for process, deadline_s in list(self._retired.items()):
            if process.exitcode is None and now_s > deadline_s:
                _log.warning("Worker %d (pid %d), replaced, did not end; ending it.", process.worker, process.pid)
                process.kill()
            if process.exitcode is not None or now_s > deadline_s:
                self._forget(process)
                del self._retired[process]

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

    def _end(self) -> None:
        """Tells all workers to end, and returns when they have."""
        # From here on only workers hold the port: when the last stops listening, a client is refused instead of
        # waiting in the queue of a port that nobody serves.
        for sock in self.sockets:
            sock.close()
        processes = [*self._workers, *self._retired, *([self._incoming] if self._incoming else [])]
        for process in processes:
            process.terminate()
        self._join(processes)

    def _join(self, processes: list[WorkerProcess]) -> None:
        """Returns when all have ended; uses force on a second signal, or when they take longer than they may."""
        deadline_s = time.monotonic() + _STOP_DEADLINE_S
        while processes:
            if self._is_told_again() or time.monotonic() > deadline_s:
                _log.warning("Ending the workers at once.")
                for process in processes:
                    process.kill()
                    process.join()
            for process in [process for process in processes if process.exitcode is not None]:
                processes.remove(process)
                self._forget(process)
            time.sleep(_LISTEN_EVERY_S)

    def _listen(self) -> None:
        """Waits until it is time to look after the workers, but not past a signal."""
        is_replacing = self._incoming is not None or self._to_replace
        end_s = time.monotonic() + (_LISTEN_EVERY_S if is_replacing else _CHECK_EVERY_S)
        while not self.signal_queue and time.monotonic() < end_s:
            time.sleep(_LISTEN_EVERY_S)

    def _is_told_again(self) -> bool:
        return self._told_to_end > 1 or any(number in _ENDS for number in self.signal_queue)
