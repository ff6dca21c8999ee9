"""Refuses a body that announces itself too large, before anything reads it."""

from collections.abc import Awaitable

from mock_server.asgi import App, Receive, Scope, Send
from mock_server.errors import RequestTooLargeError

# A client that sends its whole body before it reads sees an answer only when the body is taken off it: so much past
# the limit is; beyond that the connection is closed.
_SWALLOWED_BYTES = 65_536


class BodyLimit:
    """Looks at Content-Length only; a body without one is counted by the endpoint that reads it."""

    def __init__(self, app: App, limit_bytes: int):
        self._app = app
        self._limit_bytes = limit_bytes

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"content-length" and value.isdigit() and int(value) > self._limit_bytes:
                    return self._refuse(int(value), receive)
        return self._app(scope, receive, send)

    async def _refuse(self, announced_bytes: int, receive: Receive) -> None:
        details = {"limit_bytes": self._limit_bytes}
        if announced_bytes > self._limit_bytes + _SWALLOWED_BYTES:
            raise RequestTooLargeError(details=details, headers=[(b"connection", b"close")])
        while (await receive()).get("more_body"):
            pass
        raise RequestTooLargeError(details=details)
