"""HTTP/1.1 as uvicorn speaks it through httptools: one write for each answer, one error shape for garbage."""

import asyncio
import json
import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mock_server.errors import RequestError, build_body

_MOST_KEPT_BYTES = 16_384


class TickTransport:
    """A transport that joins what is written in one turn of the event loop; everything else is the real one's.

    uvicorn writes the head of an answer and its body apart, which is a system call and a packet for each.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop):
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        self._kept_bytes = 0

    @property
    def inner(self) -> asyncio.Transport:
        """The real transport, for a protocol that joins its own writes."""
        return self._transport

    def write(self, data: bytes) -> None:
        """Keeps `data` until this turn of the loop ends, or until there is so much that backpressure must see it."""
        if not self._pieces:
            self._loop.call_soon(self.flush)
        self._pieces.append(data)
        self._kept_bytes += len(data)
        if self._kept_bytes > _MOST_KEPT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes what was kept."""
        if self._pieces:
            pieces, self._pieces, self._kept_bytes = self._pieces, [], 0
            if not self._transport.is_closing():
                self._transport.write(b"".join(pieces))

    def close(self) -> None:
        """Closes once what was kept is written."""
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class ConsoulHttpProtocol(HttpToolsProtocol):
    """Answers what cannot be parsed with our 400; there is no request yet, hence no request id of a client."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        joined = TickTransport(cast(asyncio.Transport, transport), self.loop)
        super().connection_made(cast(asyncio.Transport, joined))

    def _unsupported_upgrade_warning(self) -> None:
        """Says nothing: the request is answered as if it asked for no upgrade, and each would be two lines of log."""

    def send_400_response(self, msg: str) -> None:
        # uvicorn makes the protocol, so no clock can be handed in; the time is only printed.
        body = json.dumps(
            build_body(RequestError("The bytes received are not an HTTP request."), time.time())
        ).encode()
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\n"
            f"content-length: {len(body)}\r\nx-request-id: unparsed\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode("ascii") + body)
        self.transport.close()
