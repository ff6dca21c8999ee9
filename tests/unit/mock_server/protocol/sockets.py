"""A transport without a socket that takes as much as it is told, and a WebSocket protocol on it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from uvicorn.config import Config
from uvicorn.server import ServerState

from mock_server.asgi import Receive, Scope, Send
from mock_server.protocol.websocket import ConsoulWebSocketProtocol
from mock_server.wire import WIRE, WireLimits
from tests.reliability.raw_websocket import build_frame, take_frame

HANDSHAKE = (
    b"GET /ws/chat/s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


class FakeTransport(asyncio.Transport):
    """`room_bytes` is what the kernel still takes; what is written past it stays in `kept`, as in a real one.

    `state` holds what was done to it: paused, blocked, closed, aborted, half-closed.
    """

    def __init__(self, room_bytes: int = 10**9):
        super().__init__()
        self.room_bytes = room_bytes
        self.taken = bytearray()
        self.kept = bytearray()
        self.writes = 0
        self.state: set[str] = set()
        self.protocol: Any = None

    def write(self, data: Any) -> None:
        assert not self.state & {"closed", "half-closed"}
        self.writes += 1
        self.kept += data
        self.make_room(0)
        if self.kept and "blocked" not in self.state:
            self.state.add("blocked")
            self.protocol.pause_writing()

    def make_room(self, more_bytes: int) -> None:
        """The client reads."""
        self.room_bytes += more_bytes
        count = min(self.room_bytes, len(self.kept))
        self.taken += self.kept[:count]
        del self.kept[:count]
        self.room_bytes -= count
        if "blocked" in self.state and not self.kept:
            self.state.remove("blocked")
            self.protocol.resume_writing()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        assert high == 0

    def get_write_buffer_size(self) -> int:
        return len(self.kept)

    def is_closing(self) -> bool:
        return "closed" in self.state

    def close(self) -> None:
        self.state.add("closed")

    def abort(self) -> None:
        self.state |= {"closed", "aborted"}

    def write_eof(self) -> None:
        self.state.add("half-closed")

    def pause_reading(self) -> None:
        self.state.add("paused")

    def resume_reading(self) -> None:
        self.state.discard("paused")


class Recorder:
    """A listener that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def on_slow(self, reason: str) -> None:
        self.told.append(reason)

    def on_drain(self) -> None:
        self.told.append("drain")

    def on_end(self) -> None:
        self.told.append("end")


Endpoint = Callable[[Scope, Receive, Send], Awaitable[None]]


class Connection:
    """An accepted connection whose endpoint keeps every event it receives, while `is_taking` is set."""

    def __init__(self, limits: WireLimits | None = None, room_bytes: int = 10**9, ping_s: float = 20.0):
        self.transport = FakeTransport(room_bytes)
        self.listener = Recorder()
        self.events: list[Any] = []
        self.is_taking = asyncio.Event()
        self.is_taking.set()
        self._limits = limits or WireLimits(1000, 5.0)
        config = Config(
            self._app,
            ws_max_size=262_144,
            ws_ping_interval=ping_s,
            log_config=None,
            interface="asgi3",
            proxy_headers=False,
        )
        config.load()
        self.state = ServerState()
        self.protocol = ConsoulWebSocketProtocol(config, self.state, {}, asyncio.get_running_loop())
        self.transport.protocol = self.protocol

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.wire = scope["extensions"][WIRE]
        self.events.append(await receive())
        self.wire.attach(self.listener, self._limits)
        await send({"type": "websocket.accept", "headers": [(b"x-request-id", b"r")]})
        while self.events[-1]["type"] != "websocket.disconnect":
            await self.is_taking.wait()
            self.events.append(await receive())

    async def open(self, handshake: bytes = HANDSHAKE) -> "Connection":
        self.protocol.connection_made(self.transport)
        self.protocol.data_received(handshake)
        await settle()
        self.answer, _, rest = bytes(self.transport.taken).partition(b"\r\n\r\n")
        self.transport.taken = bytearray(rest)
        return self

    def receive(self, opcode: int, payload: bytes, **how: Any) -> None:
        self.protocol.data_received(build_frame(opcode, payload, **how))

    def frames(self) -> list[tuple[int, bytes]]:
        """Returns and forgets the frames the client has got."""
        found = []
        while (frame := take_frame(self.transport.taken)) is not None:
            found.append((frame.opcode, frame.payload))
        return found


async def settle() -> None:
    """Lets everything run that can."""
    for _ in range(10):
        await asyncio.sleep(0)
