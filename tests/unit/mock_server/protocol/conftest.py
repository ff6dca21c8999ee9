"""A connection without a socket: the real protocol and the real application on a transport that writes to a list."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from uvicorn import Config
from uvicorn.server import ServerState

from mock_server.app import create_app
from mock_server.environment import load_settings
from mock_server.protocol.http import ConsoulHttpProtocol
from mock_server.protocol.limits import HttpLimits
from tests.unit.mock_server.conftest import FakeClock


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 5), "sockname": ("127.0.0.1", 6)})
        self.written = b""
        self.protocol: Any = None
        self.events: list[str] = []
        self.unsent_bytes = 0
        self._is_reading = True

    def write(self, data: Any) -> None:
        assert not self.is_closing()
        self.written += bytes(data)

    def close(self) -> None:
        self.events.append("close")

    def abort(self) -> None:
        self.events.append("abort")

    def write_eof(self) -> None:
        self.events.append("eof")

    def is_closing(self) -> bool:
        return "close" in self.events or "abort" in self.events

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_protocol(self) -> Any:
        return self.protocol

    def is_reading(self) -> bool:
        return self._is_reading

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent_bytes


@dataclass
class Connection:
    """What a client would see of one connection, and the means to send on it."""

    protocol: ConsoulHttpProtocol
    transport: FakeTransport
    state: ServerState
    registry: CollectorRegistry

    async def send(self, *pieces: bytes) -> None:
        """Each piece arrives in a turn of its own of the event loop, however it is read."""
        for piece in pieces:
            receiver = self.transport.protocol
            if isinstance(receiver, asyncio.BufferedProtocol):
                buffer = memoryview(receiver.get_buffer(len(piece)))
                assert len(piece) <= len(buffer), "the event loop would read this in two pieces"
                buffer[: len(piece)] = piece
                receiver.buffer_updated(len(piece))
            else:
                receiver.data_received(piece)
            await asyncio.sleep(0)
        await self.settle()

    async def settle(self) -> None:
        """Waits until nothing more is answered."""
        before = -1
        while before != len(self.transport.written):
            before = len(self.transport.written)
            for _ in range(20):
                await asyncio.sleep(0)

    def statuses(self) -> list[int]:
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", self.transport.written)]

    def counted(self, endpoint: str, method: str, status: int) -> float:
        labels = {"endpoint": endpoint, "method": method, "status": str(status)}
        return self.registry.get_sample_value("consoul_request_total", labels) or 0


Connect = Callable[..., Connection]


@pytest.fixture
def connect(fake_clock: FakeClock) -> Connect:
    def open_connection(limits: HttpLimits | None = None, **variables: str) -> Connection:
        registry = CollectorRegistry()
        settings = load_settings({"CONSOUL_DEFAULT_LIMITS": "1000000/second", **variables})
        app = create_app("consoul", settings, fake_clock.as_clock(), registry)
        config = Config(app, log_config=None, timeout_keep_alive=30, ws="none", lifespan="off")
        state = ServerState()
        protocol = ConsoulHttpProtocol(config, state, {}, limits=limits)
        transport = FakeTransport()
        transport.protocol = protocol
        protocol.connection_made(transport)
        return Connection(protocol, transport, state, registry)

    return open_connection
