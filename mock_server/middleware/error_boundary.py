"""Turns everything that goes wrong inside into the one error shape; the only place that catches every exception."""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from mock_server.asgi import (
    ANSWER,
    ANSWER_HEADERS,
    ERROR_TYPE,
    REQUEST_ID,
    App,
    ClientGoneError,
    Receive,
    Scope,
    Send,
    send_json,
)
from mock_server.errors import InternalError, RequestError, ShuttingDownError, build_body, build_headers, status_of

_log = logging.getLogger(__name__)


class ErrorBoundary:
    """Answers a RequestError as it says, any other exception as 500 E900, logged once with its traceback."""

    def __init__(self, app: App, wall_s: Callable[[], float]):
        self._app = app
        self._wall_s = wall_s
        self._encoder = msgspec.json.Encoder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except RequestError as error:
            await self._answer(error, scope, send)
        except ClientGoneError:
            return
        except asyncio.CancelledError:
            # Only a server that ends cancels: its time for what was in flight is over. Nothing runs after the answer.
            if scope[ANSWER].has_started:
                raise
            await self._answer(ShuttingDownError(retry_after_s=1.0), scope, send)
        except Exception:
            request_id = scope.get(REQUEST_ID, b"").decode("ascii")
            _log.exception("Request failed.", extra={"request_id": request_id})
            scope[ERROR_TYPE] = InternalError.error_type
            if scope[ANSWER].has_started:
                raise
            await self._answer(InternalError(), scope, send)

    async def _answer(self, error: RequestError, scope: Scope, send: Send) -> None:
        scope[ERROR_TYPE] = error.error_type
        body = self._encoder.encode(build_body(error, self._wall_s()))
        # Both may say that memory stood in for Redis.
        headers = dict.fromkeys([*build_headers(error), *scope.get(ANSWER_HEADERS, ())])
        await send_json(send, status_of(error), body, list(headers))
