"""`POST /chat/batch`: up to ten turns of one conversation in one request; each succeeds or fails by itself."""

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mock_server.asgi import (
    DEGRADED_HEADER,
    ERROR_TYPE,
    PROVIDER_S,
    REQUEST_ID,
    ROUTE,
    Headers,
    Receive,
    Scope,
    Send,
    read_body,
    send_json,
)
from mock_server.errors import RequestError, build_body, format_time
from mock_server.services.consoul.client_watch import ClientWatch
from mock_server.services.consoul.conversation import Conversation, Question, Reply
from mock_server.services.consoul.decoding import decode_batch
from mock_server.services.consoul.guard import Caller, Guard
from mock_server.services.consoul.models import BatchRequest, Usage

PATH = "/chat/batch"
Outcome = Reply | RequestError


class BatchEndpoint:
    """Checks as `POST /chat` does, with one unit of the rate limit for each message; then the answer is 200.

    `make_session_id` names the session of a batch that names none.
    """

    def __init__(
        self,
        guard: Guard,
        conversation: Conversation,
        max_body_bytes: int,
        make_session_id: Callable[[], str],
        wall_s: Callable[[], float],
    ):
        self._guard = guard
        self._conversation = conversation
        self._max_body_bytes = max_body_bytes
        self._make_session_id = make_session_id
        self._wall_s = wall_s
        self._encoder = msgspec.json.Encoder()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope[ROUTE] = PATH
        caller = self._guard.identify(scope)
        request = decode_batch(await read_body(receive, self._max_body_bytes))
        headers = await self._guard.charge(caller, scope, len(request.messages))
        session_id = request.session_id or self._make_session_id()
        questions = _build_questions(request, session_id, caller, scope[REQUEST_ID].decode("ascii"))
        async with ClientWatch(receive):
            if request.sequential:
                outcomes = [await self._ask(question) for question in questions]
            else:
                outcomes = await self._ask_at_once(questions)
        times_s = [outcome.provider_s for outcome in outcomes if isinstance(outcome, Reply)]
        if times_s:
            scope[PROVIDER_S] = sum(times_s) if request.sequential else max(times_s)
        for outcome in outcomes:
            if isinstance(outcome, RequestError):
                scope[ERROR_TYPE] = outcome.error_type
        body = self._encoder.encode(self._build_answer(session_id, outcomes))
        await send_json(send, 200, body, [*headers, *_find_headers(outcomes, headers)])

    async def _ask(self, question: Question) -> Outcome:
        try:
            return await self._conversation.take_turn(question)
        except RequestError as error:
            return error

    async def _ask_at_once(self, questions: Sequence[Question]) -> list[Outcome]:
        try:
            return await self._conversation.take_turns_at_once(questions)
        except RequestError as error:
            # The session itself could not be had, which fails every message alike.
            return [error] * len(questions)

    def _build_answer(self, session_id: str, outcomes: Sequence[Outcome]) -> dict[str, Any]:
        wall_s = self._wall_s()
        replies = [outcome for outcome in outcomes if isinstance(outcome, Reply)]
        return {
            "session_id": session_id,
            "results": [_build_item(index, outcome, wall_s) for index, outcome in enumerate(outcomes)],
            "succeeded": len(replies),
            "failed": len(outcomes) - len(replies),
            "usage": _add([reply.usage for reply in replies]),
            "timestamp": format_time(wall_s),
        }


def _build_questions(request: BatchRequest, session_id: str, caller: Caller, request_id: str) -> list[Question]:
    return [
        Question(session_id, message.content, request.model, caller.owner, request_id, "batch", message.role)
        for message in request.messages
    ]


def _build_item(index: int, outcome: Outcome, wall_s: float) -> dict[str, Any]:
    if isinstance(outcome, RequestError):
        return {"index": index, "error": build_body(outcome, wall_s)}
    return {
        "index": index,
        "response": outcome.response,
        "model": outcome.model,
        "usage": outcome.usage,
        "timestamp": outcome.timestamp,
    }


def _find_headers(outcomes: Sequence[Outcome], present: Headers) -> Headers:
    """Returns what the items have to say of injected failures and of memory standing in for Redis, each once."""
    found: Headers = []
    for outcome in outcomes:
        if isinstance(outcome, RequestError):
            found += outcome.headers
        elif outcome.is_degraded:
            found.append(DEGRADED_HEADER)
    return [header for header in dict.fromkeys(found) if header not in present]


def _add(usages: Sequence[Usage]) -> Usage:
    return Usage(
        sum(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        sum(usage.total_tokens for usage in usages),
        round(sum(usage.estimated_cost for usage in usages), 6),
    )
