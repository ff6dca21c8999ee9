"""`POST /chat` as a raw ASGI endpoint: the hot path, without the framework's request and response objects."""

import msgspec

from mock_server.asgi import (
    DEGRADED_HEADER,
    PROVIDER_S,
    REQUEST_ID,
    ROUTE,
    Receive,
    Scope,
    Send,
    read_body,
    send_json,
)
from mock_server.services.consoul.conversation import Conversation, Question
from mock_server.services.consoul.decoding import decode_chat
from mock_server.services.consoul.guard import Guard
from mock_server.services.consoul.models import ChatAnswer
from mock_server.state.sessions import forget

PATH = "/chat"


class ChatEndpoint:
    """Checks in the contract's order: key, JSON and fields, rate limit, breaker, provider."""

    def __init__(self, guard: Guard, conversation: Conversation, max_body_bytes: int):
        self._guard = guard
        self._conversation = conversation
        self._max_body_bytes = max_body_bytes
        self._encoder = msgspec.json.Encoder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = PATH
        caller = self._guard.identify(scope)
        request = decode_chat(await read_body(receive, self._max_body_bytes))
        ahead = self._conversation.look_ahead(request.session_id)
        try:
            headers = await self._guard.charge(caller, scope)
        except BaseException:
            forget(ahead)
            raise
        question = Question(
            request.session_id,
            request.message,
            request.model,
            caller.owner,
            scope[REQUEST_ID].decode("ascii"),
            "http",
        )
        reply = await self._conversation.take_turn(question, ahead=ahead)
        scope[PROVIDER_S] = reply.provider_s
        if reply.is_degraded and DEGRADED_HEADER not in headers:
            headers.append(DEGRADED_HEADER)
        answer = ChatAnswer(request.session_id, reply.response, reply.model, reply.usage, reply.timestamp)
        await send_json(send, 200, self._encoder.encode(answer), headers)
