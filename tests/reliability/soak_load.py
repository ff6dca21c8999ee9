"""The load of a soak: chats at a rate over kept connections, and streams beside them. Needs little of a processor."""

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter, deque

import websockets

_SESSIONS = 200
_CHECK_EVERY_S = 0.005
_STREAM_PAUSE_S = 0.2


def build_request(path: str, session_id: str) -> bytes:
    """Returns the bytes of one POST."""
    body = json.dumps({"session_id": session_id, "message": "How does a soak end?"}).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: mock\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class ChatConnection(asyncio.Protocol):
    """A kept connection that parses no more of an answer than where it ends; `release` takes it back when idle."""

    def __init__(self, load: "Load"):
        self._load = load
        self._transport: asyncio.Transport | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._load.release(self)

    def send(self, request: bytes) -> None:
        """Sends one request; the answer before must be in."""
        assert self._transport is not None
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        received = self._received = self._received + data if self._received else data
        head, separator, body = received.partition(b"\r\n\r\n")
        if not separator:
            return
        found = head.index(b"content-length: ") + 16
        end = head.find(b"\r", found)
        if len(body) >= int(head[found : end if end >= 0 else None]):
            self._received = b""
            self._load.outcomes[head[9:12].decode()] += 1
            self._load.release(self)

    def connection_lost(self, error: Exception | None) -> None:
        if not self._load.is_over:
            self._load.outcomes["lost connection"] += 1

    def close(self) -> None:
        """Closes the connection."""
        if self._transport is not None:
            self._transport.close()


class Load:
    """Open loop: `rate` requests a second, whether or not the mock keeps up; no rate is as fast as it can."""

    def __init__(self, port: int, connections: int):
        self._port = port
        self._count = connections
        self._idle: deque[ChatConnection] = deque()
        self._connections: list[ChatConnection] = []
        self._requests = itertools.cycle([build_request("/chat", f"soak-{number}") for number in range(_SESSIONS)])
        self.rate: float | None = None
        self.is_over = False
        self.outcomes: Counter[str] = Counter()

    def release(self, connection: ChatConnection) -> None:
        """Takes an idle connection back, and sends on it at once where there is no rate to keep."""
        if self.is_over:
            connection.close()
        elif self.rate is None:
            connection.send(next(self._requests))
        else:
            self._idle.append(connection)

    async def run(self) -> None:
        """Sends until `is_over`."""
        loop = asyncio.get_running_loop()
        for _ in range(self._count):
            _, protocol = await loop.create_connection(lambda: ChatConnection(self), "127.0.0.1", self._port)
            self._connections.append(protocol)
        owed, before_s, rate = 0.0, time.monotonic(), self.rate
        while not self.is_over:
            await asyncio.sleep(_CHECK_EVERY_S)
            now_s = time.monotonic()
            owed = (owed if rate == self.rate else 0.0) + (now_s - before_s) * (self.rate or 0.0)
            before_s, rate = now_s, self.rate
            while owed >= 1 and self._idle:
                owed -= 1
                self._idle.popleft().send(next(self._requests))
        for connection in self._connections:
            connection.close()

    async def stream_events(self, number: int) -> None:
        """Reads one server-sent answer after the other until `is_over`; each on a connection of its own."""
        request = build_request("/chat/stream", f"soak-sse-{number}").replace(
            b"\r\n", b"\r\nConnection: close\r\n", 1
        )
        while not self.is_over:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(request)
            answer = await reader.read(-1)
            writer.close()
            self.outcomes["stream" if b"event: done" in answer else "broken stream"] += 1
            await asyncio.sleep(_STREAM_PAUSE_S)

    async def talk(self, number: int) -> None:
        """Asks one question after the other on WebSockets, ten on each, until `is_over`."""
        while not self.is_over:
            async with websockets.connect(f"ws://127.0.0.1:{self._port}/ws/chat/soak-ws-{number}") as socket:
                for _ in range(10):
                    await socket.send('{"type":"message","content":"How does a soak end?"}')
                    while json.loads(await socket.recv())["type"] == "token":
                        pass
                    self.outcomes["websocket"] += 1
                    await asyncio.sleep(_STREAM_PAUSE_S)


async def has_websockets(port: int) -> bool:
    """Returns whether the mock takes WebSockets."""
    with contextlib.suppress(websockets.WebSocketException, OSError):
        async with websockets.connect(f"ws://127.0.0.1:{port}/ws/chat/soak"):
            return True
    return False
