"""Refuses a body that announces itself too large, before anything reads it."""

from collections.abc import Awaitable

from mock_server.asgi import App, Receive, Scope, Send
from mock_server.errors import RequestTooLargeError


class BodyLimit:
    """Looks at Content-Length only; a body without one is counted by the endpoint that reads it."""

    def __init__(self, app: App, limit_bytes: int):
        self._app = app
        self._limit_bytes = limit_bytes

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            for name, value in scope["headers"]:
                if name == b"content-length" and value.isdigit() and int(value) > self._limit_bytes:
                    raise RequestTooLargeError(
                        details={"limit_bytes": self._limit_bytes}, headers=[(b"connection", b"close")]
                    )
        return self._app(scope, receive, send)
