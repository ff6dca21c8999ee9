"""Raises what the protocol found wrong with a request, so that it is counted and answered like any other refusal."""

from collections.abc import Awaitable

from mock_server.asgi import REFUSAL, App, Receive, Scope, Send
from mock_server.errors import RequestError


class Refusals:
    """Stands behind the hot routes: a refused request has no path, so it never meets one."""

    def __init__(self, app: App):
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        refusal = scope.get(REFUSAL)
        if isinstance(refusal, RequestError):
            raise refusal
        return self._app(scope, receive, send)
