"""Bounds the requests in flight; never refuses the probes."""

from mock_server.asgi import App, Receive, Scope, Send
from mock_server.errors import OverloadedError

_ALWAYS_ADMITTED = frozenset({"/health", "/ready"})
_RETRY_AFTER_S = 1.0


class Admission:
    """Answers 503 E120 at once to a request beyond `limit` others in flight in this worker."""

    def __init__(self, app: App, limit: int):
        self._app = app
        self._limit = limit
        self._in_flight = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _ALWAYS_ADMITTED:
            await self._app(scope, receive, send)
            return
        if self._in_flight >= self._limit:
            raise OverloadedError(retry_after_s=_RETRY_AFTER_S)
        self._in_flight += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._in_flight -= 1
