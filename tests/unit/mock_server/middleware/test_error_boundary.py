import asyncio
import json
from typing import Any

from mock_server.asgi import ANSWER, Answer, Message, Receive, Scope, Send
from mock_server.middleware.error_boundary import ErrorBoundary


async def hang(scope: Scope, receive: Receive, send: Send) -> None:
    await asyncio.get_running_loop().create_future()


async def receive_nothing() -> Any:
    raise AssertionError


async def test_f01_a_request_cut_by_the_end_of_the_server_has_the_one_shape() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    answer = Answer(send, b"id")
    app = ErrorBoundary(hang, lambda: 0.0)
    task = asyncio.ensure_future(app({"type": "http", ANSWER: answer}, receive_nothing, answer.send))
    await asyncio.sleep(0)
    task.cancel()
    await task
    body = json.loads(sent[1]["body"])
    assert (sent[0]["status"], body["code"], body["retry_after"]) == (503, "E121", 1.0)
    assert answer.status == 503
