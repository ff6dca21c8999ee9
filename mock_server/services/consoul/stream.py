"""`POST /chat/stream`: the tokens of one turn as server-sent events, as they come."""

import asyncio
from collections.abc import Callable
from typing import Any

from prometheus_client import Counter

from mock_server.asgi import ANSWER, ERROR_TYPE, PROVIDER_S, REQUEST_ID, ROUTE, Receive, Scope, Send, read_body
from mock_server.errors import CircuitOpenError, ProviderFailedError, RequestError, ShuttingDownError, build_body
from mock_server.services.consoul.client_watch import ClientWatch
from mock_server.services.consoul.connections import Connections
from mock_server.services.consoul.conversation import Conversation, Question, Reply
from mock_server.services.consoul.decoding import decode_chat
from mock_server.services.consoul.events import EventStream
from mock_server.services.consoul.guard import Guard
from mock_server.services.consoul.models import ChatRequest

PATH = "/chat/stream"


class StreamEndpoint:
    """Checks as `POST /chat` does; what is refused before the provider is asked is plain JSON with its status.

    From the breaker on the answer is 200, and what fails is its last event, whether tokens came before it or not.
    """

    def __init__(
        self,
        guard: Guard,
        conversation: Conversation,
        connections: Connections,
        slow_clients: Counter,
        max_body_bytes: int,
        send_timeout_s: float,
        wall_s: Callable[[], float],
    ):
        self._guard = guard
        self._conversation = conversation
        self._connections = connections
        self._slow_clients = slow_clients
        self._max_body_bytes = max_body_bytes
        self._send_timeout_s = send_timeout_s
        self._wall_s = wall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = PATH
        caller = self._guard.identify(scope)
        request = decode_chat(await read_body(receive, self._max_body_bytes))
        headers = await self._guard.charge(caller, scope)
        watch = ClientWatch(receive)

        def cut() -> None:
            self._slow_clients.inc()
            scope[ANSWER].abort()
            watch.give_up()

        stream = EventStream(send, headers, self._send_timeout_s, cut)
        self._connections.streams += 1
        try:
            async with watch:
                await self._stream(scope, request, caller.owner, stream, watch)
        finally:
            stream.close()
            self._connections.streams -= 1

    async def _stream(
        self, scope: Scope, request: ChatRequest, owner: str | None, stream: EventStream, watch: ClientWatch
    ) -> None:
        request_id = scope[REQUEST_ID].decode("ascii")
        question = Question(request.session_id, request.message, request.model, owner, request_id, "sse")
        try:
            reply = await self._conversation.stream_turn(question, stream.emit)
            scope[PROVIDER_S] = reply.provider_s
            await stream.end("done", _build_done(request.session_id, reply))
        except RequestError as error:
            if not stream.has_started and not isinstance(error, ProviderFailedError | CircuitOpenError):
                raise
            await self._fail(scope, stream, error)
        except asyncio.CancelledError:
            if watch.is_given_up or not stream.has_started:
                raise
            # The server ends: its time for what was in flight is over.
            await self._fail(scope, stream, ShuttingDownError(retry_after_s=1.0))

    async def _fail(self, scope: Scope, stream: EventStream, error: RequestError) -> None:
        scope[ERROR_TYPE] = error.error_type
        await stream.end("error", build_body(error, self._wall_s()), error.headers)


def _build_done(session_id: str, reply: Reply) -> dict[str, Any]:
    """Returns the data of the last event of a turn that was saved; the headers are gone by the time that is known."""
    done: dict[str, Any] = {"session_id": session_id, "usage": reply.usage, "timestamp": reply.timestamp}
    if reply.is_degraded:
        done["degraded"] = "redis"
    return done
