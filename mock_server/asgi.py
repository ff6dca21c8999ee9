"""Types of ASGI, and the three things every raw endpoint and middleware does with them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mock_server.errors import RequestTooLargeError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

# Keys of the scope by which parts of the mock tell one another about a request.
REQUEST_ID = "mock.request_id"
ERROR_TYPE = "mock.error_type"
PROVIDER_S = "mock.provider_s"
ANSWER_HEADERS = "mock.answer_headers"
ROUTE = "mock.route"
ANSWER = "mock.answer"
REFUSAL = "mock.refusal"

# Marks an answer that memory gave while Redis was away, so that no result can mistake it.
DEGRADED_HEADER = (b"x-degraded", b"redis")

# What is counted when the client left before an answer began; nginx's number for the same thing.
CLIENT_GONE = 499


class Answer:
    """What became of a request: adds its id to the answer and remembers the status; one for all layers inside."""

    __slots__ = ("_header", "_origin", "_send", "has_started", "status")

    def __init__(self, send: Send, request_id: bytes):
        self._send = self._origin = send
        self._header = (b"x-request-id", request_id)
        self.status = CLIENT_GONE
        self.has_started = False

    def send(self, message: Message) -> Awaitable[None]:
        """Passes one message on."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.has_started = True
            message["headers"] = [*message["headers"], self._header]
        return self._send(message)

    def add_header(self, header: tuple[bytes, bytes]) -> None:
        """Adds one more header to the answer, which must not have started; for what is rare: it wraps the sending."""
        send = self._send

        def send_with_header(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start" and header not in message["headers"]:
                message["headers"].append(header)
            return send(message)

        self._send = send_with_header

    def abort(self) -> None:
        """Ends the connection at once, with whatever was not sent yet: for a client that does not read.

        ASGI has no message for that, so this reaches for the transport behind uvicorn's `send`; elsewhere it does
        nothing, and the connection ends when the request does.
        """
        transport = getattr(getattr(self._origin, "__self__", None), "transport", None)
        if transport is not None:
            transport.abort()


class ClientGoneError(Exception):
    """The client left before its request, or the answer, was whole; there is nobody to answer."""


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """Returns the whole body; raises RequestTooLargeError past the limit, ClientGoneError on a disconnect."""
    message = await receive()
    body: bytes = message.get("body", b"")
    if message.get("more_body"):
        pieces = [body]
        size_bytes = len(body)
        while message.get("more_body") and size_bytes <= limit_bytes:
            message = await receive()
            pieces.append(message.get("body", b""))
            size_bytes += len(pieces[-1])
        body = b"".join(pieces)
    if message["type"] == "http.disconnect":
        raise ClientGoneError
    if len(body) > limit_bytes:
        raise RequestTooLargeError(details={"limit_bytes": limit_bytes}, headers=[(b"connection", b"close")])
    return body


async def send_json(send: Send, status: int, body: bytes, headers: Headers | None = None) -> None:
    """Sends a whole JSON answer."""
    start: Headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if headers:
        start += headers
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
