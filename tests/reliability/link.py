"""One connection through a fault proxy: two pipes, and the toxics that act on each."""

import asyncio
import random
import socket
import struct
from collections.abc import Iterator
from typing import TypeVar

import hiredis

from tests.reliability.toxics import (
    Bandwidth,
    Garbage,
    Latency,
    LimitData,
    Refuse,
    ResetPeer,
    Slicer,
    SlowClose,
    Timeout,
    Toxic,
)

_CHUNK_BYTES = 65_536
_QUEUE_LENGTH = 1024
# A limited rate is spent in pieces of this length, so that it can be felt below one chunk.
_RATE_PIECE_S = 0.1
_LAST_WORDS_S = 1.0
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
_Kind = TypeVar("_Kind", bound=Toxic)


def _build_refused(reply: str) -> bytes:
    """Returns a command that Redis answers with that error: in its turn, so that replies stay in order."""
    parts = ["EVAL", "return redis.error_reply(ARGV[1])", "0", reply]
    return f"*{len(parts)}\r\n".encode() + b"".join(f"${len(part)}\r\n{part}\r\n".encode() for part in parts)


class Pipe:
    """One direction: a reader that never waits for the toxics, and a writer that does what they say.

    Toxics act in a fixed order, not in that of their being added: drop, replace, delay, cut off, slice, throttle.
    """

    def __init__(self, link: "Link", reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rng: random.Random):
        self._link = link
        self._reader = reader
        self._writer = writer
        self._rng = rng
        self._loop = asyncio.get_running_loop()
        self._queue: asyncio.Queue[tuple[bytes, float]] = asyncio.Queue(_QUEUE_LENGTH)
        self._changed = asyncio.Event()
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._passed_bytes: dict[str, int] = {}
        self._commands = hiredis.Reader()
        self.toxics: dict[str, Toxic] = {}

    def add(self, name: str, toxic: Toxic) -> None:
        self.toxics[name] = toxic
        self._passed_bytes[name] = 0
        if isinstance(toxic, Timeout) and toxic.timeout:
            self._timers[name] = self._loop.call_later(toxic.timeout / 1000, self._link.close)
        self._wake()

    def remove(self, name: str) -> None:
        if (toxic := self.toxics.pop(name, None)) is None:
            return
        del self._passed_bytes[name]
        if name in self._timers:
            self._timers.pop(name).cancel()
        if isinstance(toxic, Timeout):
            self._link.close()
        if isinstance(toxic, Refuse) and self._commands.has_data():
            # The end of a command whose beginning was kept back.
            self._link.reset()
        self._wake()

    def stop(self) -> None:
        for timer in self._timers.values():
            timer.cancel()

    async def read(self) -> None:
        """Queues what comes with the time it came, and at the end nothing."""
        data = b"."
        while data:
            data = await self._reader.read(_CHUNK_BYTES)
            await self._queue.put((data, self._loop.time()))

    async def write(self) -> None:
        """Delivers what is queued, in order; ends with the stream."""
        while True:
            data, arrived_s = await self._queue.get()
            if not data:
                for name, slow in self._find(SlowClose):
                    await self._pause(self._loop.time() + slow.delay / 1000, name)
                if self._writer.can_write_eof():
                    self._writer.write_eof()
                return
            await self._deliver(data, arrived_s)

    async def _deliver(self, data: bytes, arrived_s: float) -> None:
        for name, late in self._find(Latency):
            delay = late.latency + self._rng.uniform(-late.jitter, late.jitter)
            await self._pause(arrived_s + delay / 1000, name)
        if any(self._find(Timeout)):
            return
        for _, refuse in self._find(Refuse):
            data = self._count_commands(data) * _build_refused(refuse.reply)
        if any(self._find(Garbage)):
            data = self._rng.randbytes(len(data))
        for name, reset in self._find(ResetPeer):
            await self._send(data[: reset.passes])
            await self._pause(self._loop.time() + reset.timeout / 1000, name)
            if name in self.toxics:
                self._link.reset()
            return
        limit_bytes = min(
            (limit.bytes - self._passed_bytes[name] for name, limit in self._find(LimitData)), default=None
        )
        for name in self._passed_bytes:
            self._passed_bytes[name] += len(data)
        await self._send_pieces(data if limit_bytes is None else data[: max(0, limit_bytes)])
        if limit_bytes is not None and len(data) >= limit_bytes:
            self._link.close()

    async def _send_pieces(self, data: bytes) -> None:
        slicer = next(self._find(Slicer), None)
        if slicer is None:
            await self._send(data)
            return
        name, cut = slicer
        at = 0
        while at < len(data):
            size = max(1, cut.average_size + self._rng.randint(-cut.size_variation, cut.size_variation))
            await self._send(data[at : at + size])
            at += size
            # With no delay too: the loop's turn keeps the pieces apart.
            await self._pause(self._loop.time() + cut.delay / 1e6, name)

    async def _send(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            throttle = next(self._find(Bandwidth), None)
            size = len(data) - at
            if throttle is not None:
                name, limit = throttle
                size = min(size, max(1, int(limit.rate * 1000 * _RATE_PIECE_S)))
                await self._pause(self._loop.time() + size / (limit.rate * 1000), name)
            self._writer.write(data[at : at + size])
            at += size
        await self._writer.drain()

    async def _pause(self, until_s: float, name: str) -> None:
        """Waits until then, or until the toxic `name` is gone."""
        await asyncio.sleep(0)
        while name in self.toxics and (left_s := until_s - self._loop.time()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                return

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _find(self, kind: type[_Kind]) -> Iterator[tuple[str, _Kind]]:
        return ((name, toxic) for name, toxic in list(self.toxics.items()) if isinstance(toxic, kind))

    def _count_commands(self, data: bytes) -> int:
        # A command is a list of texts, which reads like a reply.
        self._commands.feed(data)
        count = 0
        while self._commands.gets() is not False:
            count += 1
        return count


class Link:
    """A client's connection and the one to the server that stands for it; ends when both directions have."""

    def __init__(self, client: Ends, server: Ends, rng: random.Random):
        self._writers = (client[1], server[1])
        self._rng = rng
        self._pipes = {
            "upstream": Pipe(self, client[0], server[1], rng),
            "downstream": Pipe(self, server[0], client[1], rng),
        }
        self._tasks: list[asyncio.Task[None]] = []
        self._has_ended = False
        for writer in self._writers:
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def add(self, name: str, toxic: Toxic) -> None:
        """Lets a toxic act on this link, if its toxicity has it so."""
        if self._rng.random() < toxic.toxicity:
            self._pipes[toxic.stream].add(name, toxic)

    def remove(self, name: str) -> None:
        """Ends what a toxic does to this link."""
        for pipe in self._pipes.values():
            pipe.remove(name)

    def close(self) -> None:
        """Ends both connections as their peers would, after what was written."""
        for writer in self._writers:
            writer.close()
        self._end()

    def reset(self) -> None:
        """Ends both connections with a reset."""
        for writer in self._writers:
            if not writer.transport.is_closing():
                writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()
        self._end()

    async def run(self) -> None:
        """Passes data on until the link ends."""
        self._tasks = [
            asyncio.create_task(step) for pipe in self._pipes.values() for step in (pipe.read(), pipe.write())
        ]
        try:
            await asyncio.gather(*self._tasks)
        except (ConnectionError, hiredis.ProtocolError, asyncio.CancelledError):
            if not self._has_ended:
                self.reset()
        finally:
            await asyncio.gather(*self._tasks, return_exceptions=True)
            for pipe in self._pipes.values():
                pipe.stop()
            await self._close_writers()

    async def _close_writers(self) -> None:
        """Lets what was written go out, if somebody reads it."""
        for writer in self._writers:
            writer.close()
        try:
            async with asyncio.timeout(_LAST_WORDS_S):
                await asyncio.gather(*(writer.wait_closed() for writer in self._writers))
        except OSError:
            pass
        finally:
            for writer in self._writers:
                writer.transport.abort()

    def _end(self) -> None:
        self._has_ended = True
        for task in self._tasks:
            task.cancel()
