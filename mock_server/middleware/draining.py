"""What a worker that is ending does with requests that come meanwhile; the two ways to end are `core.draining`'s."""

from collections.abc import Awaitable, Callable

import msgspec

from mock_server.asgi import ANSWER, App, Receive, Scope, Send
from mock_server.core.draining import Draining
from mock_server.errors import ShuttingDownError, build_body, build_headers

_RETRY_AFTER_S = 1.0
_PROBES = frozenset({"/health", "/ready"})
_CLOSE = (b"connection", b"close")


class DrainingGate:
    """Makes each answer the last of its connection; refuses WebSockets, and on `stop` requests too, but no probes."""

    def __init__(self, app: App, draining: Draining, max_body_bytes: int, wall_s: Callable[[], float]):
        self._app = app
        self._draining = draining
        self._max_body_bytes = max_body_bytes
        self._wall_s = wall_s

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._draining.phase == "no":
            return self._app(scope, receive, send)
        return self._end(scope, receive, send)

    async def _end(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._refuse_websocket(scope, receive, send)
            return
        if scope["type"] == "http":
            scope[ANSWER].add_header(_CLOSE)
            if self._draining.phase == "stop" and scope["path"] not in _PROBES:
                await self._swallow_body(receive)
                raise _refusal()
        await self._app(scope, receive, send)

    async def _swallow_body(self, receive: Receive) -> None:
        """Takes the body off the connection: closed with bytes unread, it may be reset before the answer."""
        swallowed_bytes = 0
        while swallowed_bytes <= self._max_body_bytes:
            message = await receive()
            swallowed_bytes += len(message.get("body", b""))
            if not message.get("more_body"):
                return

    async def _refuse_websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1012})
            return
        error = _refusal()
        body = msgspec.json.encode(build_body(error, self._wall_s()))
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            _CLOSE,
            *build_headers(error),
        ]
        await send({"type": "websocket.http.response.start", "status": error.status, "headers": headers})
        await send({"type": "websocket.http.response.body", "body": body})


def _refusal() -> ShuttingDownError:
    return ShuttingDownError("The server is stopping and takes nothing new.", retry_after_s=_RETRY_AFTER_S)
