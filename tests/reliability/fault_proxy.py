"""A TCP proxy that harms what passes through it, on a thread of its own, so that any test can drive it.

Toxics act on connections that exist as on new ones, from the moment they are added until they are removed.
"""

import asyncio
import itertools
import random
import socket
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, TypeVar

from tests.reliability.link import Link
from tests.reliability.toxics import Toxic

_T = TypeVar("_T")
_CALL_TIMEOUT_S = 10.0


class FaultProxy:
    """Listens on a free port of 127.0.0.1 while entered; afterwards neither thread, socket nor task is left."""

    def __init__(self, upstream_port: int, seed: int = 1):
        self._upstream_port = upstream_port
        self._rng = random.Random(seed)
        self._names = itertools.count(1)
        self._toxics: dict[str, Toxic] = {}
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener: socket.socket | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy")
        self.port = 0
        self.accepted = 0

    def __enter__(self) -> "FaultProxy":
        self._thread.start()
        self._run(self._listen)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._run(self._close)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_TIMEOUT_S)
        self._loop.close()

    @property
    def connections(self) -> int:
        """Number of connections being passed on."""
        return len(self._links)

    def url(self, database: int = 0) -> str:
        """Returns the URL of the Redis behind this proxy."""
        return f"redis://127.0.0.1:{self.port}/{database}"

    def add(self, toxic: Toxic) -> str:
        """Adds a toxic, on live connections too; returns the name to remove it by."""
        name = f"{type(toxic).__name__}-{next(self._names)}"

        async def add() -> None:
            self._toxics[name] = toxic
            for link in self._links:
                link.add(name, toxic)

        self._run(add)
        return name

    def remove(self, name: str) -> None:
        """Takes a toxic away from all connections."""

        async def remove() -> None:
            del self._toxics[name]
            for link in list(self._links):
                link.remove(name)

        self._run(remove)

    def reset(self) -> None:
        """Removes all toxics, and listens again."""
        for name in list(self._toxics):
            self.remove(name)
        self.enable()

    def disable(self) -> None:
        """Goes down, as toxiproxy's `enabled: false`: connections are cut, new ones refused."""
        self._run(self._go_down)

    def enable(self) -> None:
        """Listens again, on the same port."""
        self._run(self._listen)

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = socket.create_server(("127.0.0.1", self.port), backlog=1000)
            self._listener.setblocking(False)
            self.port = self._listener.getsockname()[1]
            self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _go_down(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            self._loop.remove_reader(listener)
            listener.close()
        for link in list(self._links):
            link.reset()
        for task in self._tasks - set(self._links.values()):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _close(self) -> None:
        await self._go_down()
        # Transports close in the turn after the one that aborts them.
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _accept(self, listener: socket.socket) -> None:
        # Not asyncio's own server: closed in the turn in which it accepts, it leaves a transport open.
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        self.accepted += 1
        accepted.setblocking(False)
        task = self._loop.create_task(self._serve(accepted))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # One that is cancelled before it began closes nothing by itself.
        task.add_done_callback(lambda ended: accepted.close() if ended.cancelled() else None)

    async def _serve(self, accepted: socket.socket) -> None:
        task = asyncio.current_task()
        assert task is not None
        upstream = socket.socket()
        ends: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        try:
            upstream.setblocking(False)
            await self._loop.sock_connect(upstream, ("127.0.0.1", self._upstream_port))
            # One by one: cancelled at the second, the first is there to be closed.
            ends.append(await asyncio.open_connection(sock=accepted))
            ends.append(await asyncio.open_connection(sock=upstream))
        except BaseException as error:
            for _, writer in ends:
                writer.transport.abort()
            accepted.close()
            upstream.close()
            if not isinstance(error, OSError):
                raise
            return
        link = Link(ends[0], ends[1], self._rng)
        self._links[link] = task
        for name, toxic in self._toxics.items():
            link.add(name, toxic)
        try:
            await link.run()
        finally:
            del self._links[link]

    def _run(self, action: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return asyncio.run_coroutine_threadsafe(action(), self._loop).result(_CALL_TIMEOUT_S)
