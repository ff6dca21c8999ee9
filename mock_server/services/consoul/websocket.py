"""`WS /ws/chat/{session_id}`: who may connect, and what those hear who may not."""

import math
import re
from dataclasses import dataclass

import msgspec

from mock_server.asgi import REQUEST_ID, Receive, Scope, Send
from mock_server.core.clock import Clock
from mock_server.errors import (
    InvalidApiKeyError,
    InvalidContentError,
    NotFoundError,
    OverloadedError,
    RequestError,
    ShuttingDownError,
    build_body,
    build_headers,
    status_of,
)
from mock_server.metrics import UNMATCHED, WEBSOCKET_ENDPOINT, WEBSOCKET_MESSAGE, Metrics
from mock_server.services.consoul.connections import Connections
from mock_server.services.consoul.conversation import Conversation
from mock_server.services.consoul.guard import Guard
from mock_server.services.consoul.models import MAX_SESSION_ID
from mock_server.services.consoul.socket_chat import SocketChat
from mock_server.settings import Settings
from mock_server.wire import WIRE, WireLimits

PREFIX = "/ws/chat/"
POLICY_VIOLATION = 1008
_RETRY_AFTER_S = 1.0
_is_session_id = re.compile(rf"[A-Za-z0-9._:-]{{1,{MAX_SESSION_ID}}}").fullmatch


@dataclass(frozen=True, slots=True)
class WebSocketConfig:
    """`max_connections` is this worker's share of what the mock may have open."""

    max_connections: int
    idle_timeout_s: float
    limits: WireLimits


def websocket_config(settings: Settings) -> WebSocketConfig:
    """Returns what the settings of the whole mock mean for one worker."""
    return WebSocketConfig(
        math.ceil(settings.max_websocket_connections / settings.workers),
        settings.websocket_idle_timeout_s,
        WireLimits(settings.ws_max_buffer, settings.ws_send_timeout_s),
    )


class WebSocketEndpoint:
    """Takes every WebSocket of the service.

    A key that is missing or wrong is refused after the upgrade, with close code 1008, where scripts look for it;
    everything else is an HTTP answer to the handshake.
    """

    def __init__(
        self,
        guard: Guard,
        conversation: Conversation,
        metrics: Metrics,
        connections: Connections,
        clock: Clock,
        config: WebSocketConfig,
    ):
        self._guard = guard
        self._conversation = conversation
        self._metrics = metrics
        self._connections = connections
        self._clock = clock
        self._config = config
        self._encoder = msgspec.json.Encoder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        started_s = self._clock.monotonic_s()
        try:
            await self._serve(scope, receive, send)
        except RequestError as error:
            endpoint = UNMATCHED if isinstance(error, NotFoundError) else WEBSOCKET_ENDPOINT
            duration_s = self._clock.monotonic_s() - started_s
            self._metrics.requests.observe(endpoint, WEBSOCKET_MESSAGE, status_of(error), duration_s)
            self._metrics.requests.count_error(endpoint, error.error_type)
            await self._refuse(error, scope, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if not path.startswith(PREFIX) or "/" in path[len(PREFIX) :]:
            raise NotFoundError
        # Replaced or told to stop: either way this worker would close it at once.
        if scope["state"]["draining"]:
            raise ShuttingDownError("The server takes no new WebSockets.", retry_after_s=_RETRY_AFTER_S)
        if self._connections.websockets >= self._config.max_connections:
            raise OverloadedError("Too many WebSockets are open.", retry_after_s=_RETRY_AFTER_S)
        caller = self._guard.identify_socket(scope)
        session_id = path[len(PREFIX) :]
        if not _is_session_id(session_id):
            reason = f"must be 1 to {MAX_SESSION_ID} characters of A-Z a-z 0-9 . _ : -"
            raise InvalidContentError(details=[{"field": "session_id", "reason": reason}])
        wire = scope["extensions"][WIRE]
        chat = SocketChat(self._guard, self._conversation, self._metrics, self._clock, self._config.idle_timeout_s)
        wire.attach(chat, self._config.limits)
        gauge = self._metrics.streams.websocket_connections
        self._connections.websockets += 1
        gauge.inc()
        try:
            await send({"type": "websocket.accept", "headers": [(b"x-request-id", scope[REQUEST_ID])]})
            await chat.run(wire, scope, caller, session_id, scope[REQUEST_ID].decode("ascii"), receive)
        finally:
            self._connections.websockets -= 1
            gauge.dec()

    async def _refuse(self, error: RequestError, scope: Scope, send: Send) -> None:
        headers = [(b"x-request-id", scope[REQUEST_ID])]
        if isinstance(error, InvalidApiKeyError):
            await send({"type": "websocket.accept", "headers": headers})
            await send({"type": "websocket.close", "code": POLICY_VIOLATION, "reason": "invalid API key"})
            return
        headers += [(b"content-type", b"application/json"), *build_headers(error)]
        await send({"type": "websocket.http.response.start", "status": status_of(error), "headers": headers})
        body = self._encoder.encode(build_body(error, self._clock.wall_s()))
        await send({"type": "websocket.http.response.body", "body": body})
