"""The routes of the Consoul service, with their models for OpenAPI."""

from typing import Any

from fastapi import APIRouter, Security
from fastapi.responses import StreamingResponse
from fastapi.routing import APIRoute
from fastapi.security import APIKeyHeader, HTTPBearer

from mock_server.asgi import App
from mock_server.services.consoul.batch import PATH as BATCH_PATH
from mock_server.services.consoul.chat import PATH as CHAT_PATH
from mock_server.services.consoul.models import (
    BatchAnswerModel,
    BatchRequestModel,
    ChatAnswerModel,
    ChatRequestModel,
    ErrorModel,
    HealthModel,
    ReadinessModel,
)
from mock_server.services.consoul.probes import Probes
from mock_server.services.consoul.stream import PATH as STREAM_PATH

_CHAT_ERRORS = {
    400: "Not JSON",
    401: "API key missing or unknown",
    404: "The session belongs to another key",
    408: "The request took too long to come in",
    413: "Body too large",
    422: "Fields missing or not allowed",
    414: "URL too long",
    429: "Rate limit used up",
    431: "Head too large, or too many headers",
    500: "Internal error",
    503: "Storage away, breaker open, provider failed or server overloaded",
}
_EVENTS = {
    "description": (
        "Events: `token` {text} for each token, then `done` {session_id, usage, timestamp}, or `error` with the one "
        "shape of every error. What fails from the breaker on is an event of a 200. A turn that memory kept while "
        "Redis was away says `degraded` in `done`."
    ),
    "content": {
        "text/event-stream": {
            "schema": {
                "type": "object",
                "description": "One event; its data is JSON.",
                "properties": {
                    "event": {"type": "string", "enum": ["token", "done", "error"]},
                    "data": {"type": "string", "contentMediaType": "application/json"},
                },
                "required": ["event", "data"],
            }
        }
    },
}


def raw_route_class(endpoint: App) -> type[APIRoute]:
    """Returns a route class that is described by its function's signature and served by a raw ASGI endpoint."""

    class RawRoute(APIRoute):
        def __init__(self, *args: Any, **kwargs: Any):
            super().__init__(*args, **kwargs)
            self.app = endpoint

    return RawRoute


def add_routes(router: APIRouter, chat: App, batch: App, stream: App, probes: Probes, has_keys: bool) -> None:
    """Adds the routes: chat first, since routes are tried in order. With `has_keys` they say that they want one."""
    errors: dict[int | str, dict[str, Any]] = {
        status: {"model": ErrorModel, "description": text} for status, text in _CHAT_ERRORS.items()
    }
    # The raw endpoints ask for the key themselves; this describes it.
    keys = [Security(APIKeyHeader(name="X-API-Key", auto_error=False)), Security(HTTPBearer(auto_error=False))]
    security = keys if has_keys else []
    router.add_api_route(
        CHAT_PATH, _describe_chat, methods=["POST"], response_model=ChatAnswerModel, responses=errors, tags=["chat"],
        name="send_message", dependencies=security,
        route_class_override=raw_route_class(chat),
    )  # fmt: skip
    router.add_api_route(
        BATCH_PATH, _describe_batch, methods=["POST"], response_model=BatchAnswerModel, responses=errors,
        tags=["chat"], name="send_batch", dependencies=security,
        route_class_override=raw_route_class(batch),
    )  # fmt: skip
    router.add_api_route(
        STREAM_PATH, _describe_stream, methods=["POST"], response_class=StreamingResponse, tags=["chat"],
        responses={**errors, 200: _EVENTS},
        name="stream_message", dependencies=security,
        route_class_override=raw_route_class(stream),
    )  # fmt: skip
    router.add_api_route("/health", probes.health, methods=["GET"], response_model=HealthModel, tags=["probes"])
    router.add_api_route(
        "/ready", probes.ready, methods=["GET"], response_model=ReadinessModel, tags=["probes"],
        responses={503: {"model": ReadinessModel, "description": "Not ready"}},
    )  # fmt: skip


async def _describe_chat(body: ChatRequestModel) -> None:
    """Takes one turn on a session, creating the session when it is new."""
    raise AssertionError("OpenAPI reads this signature; the raw endpoint of the route serves the request")


async def _describe_batch(body: BatchRequestModel) -> None:
    """Takes up to ten turns on one session; each succeeds or fails by itself."""
    raise AssertionError("OpenAPI reads this signature; the raw endpoint of the route serves the request")


async def _describe_stream(body: ChatRequestModel) -> None:
    """Takes one turn on a session and sends its tokens as they come."""
    raise AssertionError("OpenAPI reads this signature; the raw endpoint of the route serves the request")
