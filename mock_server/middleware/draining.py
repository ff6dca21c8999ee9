"""What a worker that is ending does with requests that come meanwhile; the two ways to end are `core.draining`'s."""

from collections.abc import Awaitable

from mock_server.asgi import ANSWER, App, Receive, Scope, Send
from mock_server.core.draining import Draining
from mock_server.errors import ShuttingDownError

_RETRY_AFTER_S = 1.0
_PROBES = frozenset({"/health", "/ready"})
_CLOSE = (b"connection", b"close")


class DrainingGate:
    """Makes each answer the last of its connection; told to stop, refuses every request that is no probe.

    WebSockets pass: their endpoint refuses them, in the way that clients of theirs understand.
    """

    def __init__(self, app: App, draining: Draining):
        self._app = app
        self._draining = draining

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if self._draining.phase == "no" or scope["type"] != "http":
            return self._app(scope, receive, send)
        return self._end(scope, receive, send)

    async def _end(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ANSWER].add_header(_CLOSE)
        if self._draining.phase == "stop" and scope["path"] not in _PROBES:
            raise ShuttingDownError("The server is stopping and takes nothing new.", retry_after_s=_RETRY_AFTER_S)
        await self._app(scope, receive, send)
