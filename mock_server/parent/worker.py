"""One worker process: how uvicorn is set up in it, and how it ends with its parent."""

import contextlib
import functools
import gc
import os
import signal
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from socket import socket
from types import FrameType
from typing import Any, Literal, cast

from prometheus_client import CollectorRegistry, values
from prometheus_client.mmap_dict import MmapedDict
from uvicorn import Config, Server
from uvicorn.supervisors.multiprocess import Process

from mock_server.app import create_app
from mock_server.asgi import App
from mock_server.core.clock import Clock
from mock_server.core.draining import Draining
from mock_server.log import configure_logging
from mock_server.parent.draining import Drain
from mock_server.protocol.http import ConsoulHttpProtocol, sweep
from mock_server.protocol.limits import SWEEP_EVERY_S, HttpLimits
from mock_server.protocol.websocket import ConsoulWebSocketProtocol
from mock_server.settings import Settings

# From parent to worker: another worker has your place.
REPLACE_SIGNAL = signal.SIGUSR1
# What is left to do when a worker has drained: closing idle connections, answering who came last.
_CLOSING_S = 1
START_DEADLINE_S = 60.0
MAX_WEBSOCKET_MESSAGE_BYTES = 262_144
WEBSOCKET_PING_S = 20.0
_GC_THRESHOLD = 20_000
_TICKS_A_SWEEP = round(10 * SWEEP_EVERY_S)
_pack_into = struct.Struct("d").pack_into


@dataclass(frozen=True, slots=True)
class AppFactory:
    """Makes the application inside a worker; crosses the process boundary instead of the application."""

    service: str
    settings: Settings
    worker: int
    control_folder: Path | None = None

    def __call__(self) -> App:
        configure_logging(self.settings.log_level, self.settings.access_log)
        if self.settings.prometheus_enabled:
            values.ValueClass = build_value_class(os.getpid())
        clock = Clock(time.perf_counter, time.time)
        app = create_app(
            self.service, self.settings, clock, CollectorRegistry(), self.worker, control_folder=self.control_folder
        )
        _calm_garbage_collection()
        return app


def build_value_class(pid: int) -> type:
    """Returns the library's value of a metric in a memory-mapped file, at half the cost of an increment.

    A worker never forks and counts in its event loop only, so the process id is asked for once and nothing is locked.
    """
    base: type = values.MultiProcessValue(lambda: pid)  # type: ignore[no-untyped-call]

    class LoopValue(base):  # type: ignore[misc]
        _file: MmapedDict
        _key: str
        _value: float

        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            # A file that grows is mapped anew, but this mapping of it stays, and stays the same memory.
            self._memory, self._at = self._file._m, self._file._positions[self._key]

        def inc(self, amount: float) -> None:
            self._value += amount
            # One aligned write of eight bytes: a reader never sees half a number.
            _pack_into(self._memory, self._at, self._value)

    return LoopValue


def _calm_garbage_collection() -> None:
    """Leaves what lives as long as the process out of collections, and collects less often.

    Requests make many short-lived containers and no cycles: at the default threshold of 700 a fifth of a worker's
    time went into collections that found nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD)


class WorkerServer(Server):
    """Ends in two ways, both without dropping what is in flight: told to stop, or replaced by another worker.

    Its tick, ten times a second, also holds connections to their deadlines.
    """

    def __init__(self, config: Config):
        super().__init__(config)
        self._drain: Drain | None = None

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        # A terminal that hangs up tells its whole group, but replacing workers is the parent's business.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(REPLACE_SIGNAL, self.handle_replace)
        with super().capture_signals():
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._begin("stop")
        super().handle_exit(sig, frame)

    def handle_replace(self, sig: int, frame: FrameType | None) -> None:
        """Begins to end as a worker that another one replaces."""
        self._begin("replace")
        self.should_exit = True

    async def on_tick(self, counter: int) -> bool:
        if counter % _TICKS_A_SWEEP == 0:
            sweep(self.server_state.connections, time.monotonic())
        await super().on_tick(counter)
        if not self.should_exit or self.force_exit:
            return self.should_exit
        if self._drain is None:
            self._drain = Drain(self._draining, self.server_state, self.servers, time.monotonic())
        return self._drain.is_over(time.monotonic())

    @property
    def _draining(self) -> Draining:
        draining: Draining = self.lifespan.state["draining"]
        return draining

    def _begin(self, phase: Literal["stop", "replace"]) -> None:
        # Told so while the application is still being made, there is nothing that drains yet.
        if self.started:
            self._draining.begin(phase)


class WorkerProcess(Process):
    """A spawned worker that ends when its parent is gone, however the parent ended."""

    def __init__(self, config: Config, sockets: list[socket], worker: int):
        self.worker = worker
        self.was_ready = False
        self.started_s = time.monotonic()
        self._asked_s: float | None = None
        super().__init__(config, sockets)

    @property
    def has_failed_to_start(self) -> bool:
        """Whether it ended by itself before it ever served: it would do so again."""
        return not self.was_ready and self.exitcode is not None and self.exitcode > 0

    def is_alive(self, timeout: float = 5) -> bool:
        """Returns whether it runs and answered within `timeout`; never waits, so the parent is free for signals.

        One that is still starting is given `START_DEADLINE_S`: many workers on few processors take far longer to
        import than a worker that serves may take to answer.
        """
        if not self.process.is_alive():
            return False
        now_s = time.monotonic()
        self._ask(now_s)
        if not self.was_ready:
            return now_s - self.started_s < START_DEADLINE_S
        return self._asked_s is None or now_s - self._asked_s < timeout

    def retire(self) -> None:
        """Tells it that another worker has its place; unlike `terminate` it lets it serve its connections on."""
        if self.exitcode is None and self.pid is not None:
            os.kill(self.pid, REPLACE_SIGNAL)

    def _ask(self, now_s: float) -> None:
        with contextlib.suppress(OSError, EOFError):
            if self._asked_s is None:
                self.parent_conn.send(b"ping")
                self._asked_s = now_s
            if self.parent_conn.poll():
                self.was_ready = self.parent_conn.recv() or self.was_ready
                self._asked_s = None

    @property
    def server(self) -> Server:
        if self._server is None:
            self._server = WorkerServer(config=self.config)
        return self._server

    def target(self, sockets: list[socket] | None = None) -> None:
        # Only the parent may hold the parent's end, or its death would not show as the end of the pipe.
        self.parent_conn.close()
        super().target(sockets)

    def always_pong(self) -> None:
        try:
            super().always_pong()
        except (EOFError, OSError):
            os.kill(os.getpid(), signal.SIGTERM)


def build_config(service: str, settings: Settings, worker: int, control_folder: Path | None = None) -> Config:
    """Returns uvicorn's configuration for one worker."""
    return Config(
        AppFactory(service, settings, worker, control_folder),
        factory=True,
        host=settings.host,
        port=settings.port,
        loop="uvloop",
        # uvicorn calls it and asks nothing else of it.
        http=cast(
            Any, functools.partial(ConsoulHttpProtocol, limits=HttpLimits(body_bytes=settings.max_body_size_bytes))
        ),
        ws=ConsoulWebSocketProtocol,
        ws_max_size=MAX_WEBSOCKET_MESSAGE_BYTES,
        # A connection on which nothing came from one ping to the next is gone.
        ws_ping_interval=WEBSOCKET_PING_S,
        ws_ping_timeout=WEBSOCKET_PING_S,
        # Compressed, a small frame could hold any amount of memory.
        ws_per_message_deflate=False,
        lifespan="on",
        log_config=None,
        access_log=settings.access_log,
        proxy_headers=False,
        server_header=False,
        backlog=settings.backlog,
        timeout_keep_alive=settings.timeout_keep_alive_s,
        timeout_graceful_shutdown=_CLOSING_S,
        workers=settings.workers,
    )
