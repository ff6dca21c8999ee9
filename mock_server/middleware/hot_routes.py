"""Leads requests of the busiest routes straight to their endpoints, past the framework's layers and routing."""

from collections.abc import Awaitable, Mapping

from mock_server.asgi import App, Receive, Scope, Send


class HotRoutes:
    """`endpoints` maps method and whole path to an endpoint; everything else goes on to the framework.

    The same endpoints stand in the framework's routes, where OpenAPI and 405 come from. WebSockets all go to one
    endpoint, which refuses the paths it does not know.
    """

    def __init__(self, app: App, endpoints: Mapping[tuple[str, str], App], websocket: App):
        self._app = app
        self._endpoints = endpoints
        self._websocket = websocket

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            endpoint = self._endpoints.get((scope["method"], scope["path"]))
            if endpoint is not None:
                return endpoint(scope, receive, send)
        elif scope["type"] == "websocket":
            return self._websocket(scope, receive, send)
        return self._app(scope, receive, send)
