"""Serves the sum of all workers' metrics on a port of its own, at any path."""

import logging
import os
import shutil
import socket
import socketserver
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from mock_server.control.http import Control, split_control
from mock_server.control.wire import socket_path
from mock_server.errors import MetricsFolderError
from mock_server.parent.processes import read_usage

_log = logging.getLogger(__name__)
_SOCKET_TIMEOUT_S = 10.0
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - the folder made in it is private and checked


class MetricsFolder:
    """The folder of memory-mapped files the workers write: wiped at the start, gone at the end."""

    def __init__(self, host: str, port: int, base: Path | None = None):
        """Raises MetricsFolderError when it cannot be made; address and port set the mocks of one machine apart."""
        root = base or (_SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else Path(tempfile.gettempdir()))
        self.path = root / f"consoul-metrics-{os.getuid()}-{host}-{port}"
        shutil.rmtree(self.path, ignore_errors=True)
        try:
            # Not exist_ok: a folder that is still there is somebody else's.
            self.path.mkdir(mode=0o700)
        except OSError as error:
            raise MetricsFolderError(
                f"{self.path}: cannot be made for the workers' metrics ({error.strerror}); remove what is there, "
                "or set CONSOUL_OBSERVABILITY_METRICS_PORT to another port"
            ) from error

    def forget(self, pid: int) -> None:
        """Drops the live gauges and the socket of a dead worker; its counters and histograms stay in the sums."""
        socket_path(self.path, pid).unlink(missing_ok=True)
        mark_process_dead(pid, str(self.path))  # type: ignore[no-untyped-call]

    def remove(self) -> None:
        """Deletes the folder."""
        shutil.rmtree(self.path, ignore_errors=True)


class WorkerMetrics(Collector):
    """The sum of what all workers wrote, living and dead."""

    def __init__(self, folder: Path):
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        # A starting worker's file is empty for a moment, and the library fails on such a one.
        files = [str(path) for path in self._folder.glob("*.db") if _size_bytes(path)]
        yield from MultiProcessCollector.merge(files, accumulate=True)  # type: ignore[no-untyped-call]


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # A dead worker's gauges, dropped meanwhile.
        return 0


class WorkerUsage(Collector):
    """CPU, memory and open files of each worker, read when scraped; empty where the system has no /proc."""

    def __init__(self, pids: Callable[[], Mapping[int, int]]):
        self._pids = pids

    def collect(self) -> Iterator[GaugeMetricFamily]:
        cpu = GaugeMetricFamily("consoul_process_cpu_seconds", "CPU time used by a worker.", labels=["worker"])
        memory = GaugeMetricFamily(
            "consoul_process_resident_memory_bytes", "Resident memory of a worker.", labels=["worker"]
        )
        files = GaugeMetricFamily("consoul_process_open_fds", "Open files of a worker.", labels=["worker"])
        for worker, pid in sorted(self._pids().items()):
            usage = read_usage(pid)
            if usage is not None:
                cpu.add_metric([str(worker)], usage.cpu_s)
                memory.add_metric([str(worker)], usage.resident_bytes)
                files.add_metric([str(worker)], usage.open_files)
        yield from (cpu, memory, files)


class _QuietHandler(WSGIRequestHandler):
    # For each piece that is read or written: a client that stops in the middle of a request frees its thread.
    timeout = _SOCKET_TIMEOUT_S

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Logs nothing: a scrape each second is not news."""


class _ThreadingServer(socketserver.ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Logs what went wrong with a request, but not that its client left or stopped."""
        if not isinstance(sys.exception(), OSError):
            _log.exception("A request to the metrics port failed.")


def create_registry(folder: MetricsFolder, pids: Callable[[], Mapping[int, int]]) -> CollectorRegistry:
    """Returns the registry that sums what all workers wrote."""
    registry = CollectorRegistry()
    registry.register(WorkerMetrics(folder.path))
    registry.register(WorkerUsage(pids))
    return registry


def serve_metrics(sock: socket.socket, registry: CollectorRegistry, control: Control | None = None) -> WSGIServer:
    """Answers on an already listening socket from a thread; call `shutdown` on what it returns."""
    host, port = sock.getsockname()[:2]
    server = _ThreadingServer((host, port), _QuietHandler, bind_and_activate=False)
    server.socket.close()
    server.socket = sock
    server.server_name, server.server_port = host, port
    server.setup_environ()
    server.set_app(split_control(make_wsgi_app(registry), control))
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, name="metrics", daemon=True).start()
    return server
