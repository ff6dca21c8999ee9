"""Counts and times every request, by route template."""

from collections.abc import Callable

from mock_server.asgi import ANSWER, ERROR_TYPE, PROVIDER_S, ROUTE, App, Receive, Scope, Send
from mock_server.metrics import UNMATCHED, RequestMetrics


class Measured:
    """Observes each request once, when it ends, whatever ended it."""

    def __init__(self, app: App, metrics: RequestMetrics, monotonic_s: Callable[[], float]):
        self._app = app
        self._metrics = metrics
        self._monotonic_s = monotonic_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        metrics = self._metrics
        metrics.count_in_flight(1)
        started_s = self._monotonic_s()
        try:
            await self._app(scope, receive, send)
        finally:
            duration_s = self._monotonic_s() - started_s
            metrics.count_in_flight(-1)
            # Through the server's objects the answer leads back to the scope: left there, each request would be a
            # cycle, which only the garbage collector can free.
            answer = scope.pop(ANSWER)
            endpoint = scope.get(ROUTE) or _find_template(scope)
            metrics.observe(endpoint, scope["method"], answer.status, duration_s)
            provider_s = scope.get(PROVIDER_S)
            if provider_s is not None:
                metrics.observe_overhead(endpoint, max(0.0, duration_s - provider_s))
            error_type = scope.get(ERROR_TYPE)
            if error_type is not None:
                metrics.count_error(endpoint, error_type)


def _find_template(scope: Scope) -> str:
    """Returns the route's template; a plain route without parameters is known by its path alone."""
    route = scope.get("route")
    if route is not None:
        return str(route.path)
    return str(scope["path"]) if "endpoint" in scope and not scope["path_params"] else UNMATCHED
