"""What came from one WebSocket client and its endpoint has not taken: bounded, by making the client wait."""

import asyncio
from collections import deque
from typing import Protocol, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

from mock_server.asgi import Message

# Parsed at once at most: it bounds how many tiny messages are held before the client is made to wait.
_SLICE_BYTES = 1_024


class Handler(Protocol):
    """Whom the inbox tells what is not a message."""

    def on_request(self, request: Request) -> None:
        """The handshake came."""

    def on_ping(self) -> None:
        """A ping came; the parser has the pong."""

    def on_close(self) -> None:
        """A close frame came; the parser has the answer, if one is due."""

    def on_failure(self) -> None:
        """The client broke the protocol; the parser has the close frame."""


class Inbox:
    """Parses until there is a message for the endpoint; the rest waits unparsed, and then in the kernel."""

    __slots__ = ("_conn", "_handler", "_is_text", "_loop", "_messages", "_partial", "_unparsed", "_waiter",
                 "has_held", "is_ended", "is_reading", "transport")  # fmt: skip

    def __init__(self, conn: ServerProtocol, loop: asyncio.AbstractEventLoop, handler: Handler):
        self._conn = conn
        self._loop = loop
        self._handler: Handler | None = handler
        self.transport: asyncio.Transport | None = None
        self._messages: deque[Message] = deque()
        self._unparsed = b""
        # The message whose frames still come.
        self._partial: bytearray | None = None
        self._is_text = True
        self._waiter: asyncio.Future[None] | None = None
        self.is_reading = True
        # Whether the client was made to wait of late: an answer to a ping may have lain unread.
        self.has_held = False
        self.is_ended = False

    def feed(self, data: bytes) -> None:
        """Takes bytes; after the end they are parsed for a close frame only."""
        self._unparsed = self._unparsed + data if self._unparsed else data
        self._parse()

    def _parse(self) -> None:
        while self._unparsed and self._handler is not None and (not self._messages or self.is_ended):
            piece, self._unparsed = self._unparsed[:_SLICE_BYTES], self._unparsed[_SLICE_BYTES:]
            self._conn.receive_data(piece)
            for event in self._conn.events_received():
                if isinstance(event, Request):
                    self._handler.on_request(event)
                else:
                    self._take(self._handler, cast(Frame, event))
            if not self.is_ended and (self._conn.parser_exc or self._conn.handshake_exc) is not None:
                self._handler.on_failure()
        # Before the upgrade is done the connection is the HTTP protocol's to pause.
        if self._messages and self.is_reading and not self.is_ended and self.transport is not None:
            self.is_reading = False
            self.has_held = True
            if not self.transport.is_closing():
                self.transport.pause_reading()

    def _take(self, handler: Handler, frame: Frame) -> None:
        if frame.opcode is Opcode.PING:
            handler.on_ping()
        elif frame.opcode is Opcode.CLOSE:
            handler.on_close()
        elif frame.opcode is not Opcode.PONG and not self.is_ended:
            self._take_data(handler, frame)

    def _take_data(self, handler: Handler, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self._is_text = frame.opcode is Opcode.TEXT
        if self._partial is None and frame.fin:
            data = bytes(frame.data)
        else:
            if self._partial is None:
                self._partial = bytearray()
            self._partial += frame.data
            if not frame.fin:
                return
            data, self._partial = bytes(self._partial), None
        if not self._is_text:
            self.push({"type": "websocket.receive", "bytes": data})
            return
        try:
            self.push({"type": "websocket.receive", "text": data.decode()})
        except UnicodeDecodeError:
            self._conn.fail(CloseCode.INVALID_DATA, "not UTF-8")
            handler.on_failure()

    def push(self, message: Message) -> None:
        """Puts an event behind those that wait for the endpoint."""
        self._messages.append(message)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def end(self, code: int) -> None:
        """Lets the endpoint see nothing but the disconnect: messages of a client that left are not answered.

        What still comes is read, for a close frame and lest the connection end in a reset.
        """
        self.is_ended = True
        self._partial = None
        self._messages.clear()
        self.push({"type": "websocket.disconnect", "code": code})
        self.read_on()

    def lose(self) -> None:
        """Lets go of the connection, which is gone."""
        self._handler = None
        self._unparsed = b""

    def read_on(self) -> None:
        """Reads again, and parses what waited."""
        if self.transport is not None and not self.is_reading and not self.transport.is_closing():
            self.is_reading = True
            self.transport.resume_reading()

    async def receive(self) -> Message:
        """Returns the next event; reading goes on when all that came is taken."""
        while not self._messages:
            if self.is_ended:
                return {"type": "websocket.disconnect", "code": CloseCode.ABNORMAL_CLOSURE}
            if self._unparsed:
                self._parse()
                continue
            self.read_on()
            self._waiter = self._loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._messages.popleft()
