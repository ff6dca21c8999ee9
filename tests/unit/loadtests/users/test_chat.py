"""The chat client: what it sends, and which answers it takes for a success."""

import json

import pytest

from loadtests.engine.answers import Answer
from loadtests.engine.behaviour import Request, Setup
from loadtests.model import Profile
from loadtests.users.chat import Chat, check_reply


class Listener:
    """Stands in for a caller: keeps what it is asked to send."""

    number, iteration = 3, 17

    def __init__(self) -> None:
        self.sent: list[tuple[Request, bytes]] = []

    def send(self, request: Request, body: bytes) -> None:
        self.sent.append((request, body))


def setup(api_key: str | None = None) -> Setup:
    profile = Profile.model_validate(
        {
            "name": "trial",
            "description": "for a test",
            "stack": "consoul",
            "stages": [{"name": "a", "duration": 1, "users": 1}],
            "mix": {"chat": 1},
            "sessions": "fresh",
        }
    )
    return Setup(profile, {"consoul": "http://127.0.0.1:8000/base/"}, "ab12", api_key)


def test_one_iteration_posts_one_message_to_a_session_of_its_own() -> None:
    listener = Listener()
    Chat(setup()).iterate(listener)  # type: ignore[arg-type]
    [(request, body)] = listener.sent
    assert request.name == "POST /chat"
    message = json.loads(body)
    assert message["session_id"] == "load-test-ab12-3-17"
    assert 1 <= len(message["message"]) <= 32768
    assert set(message) == {"session_id", "message"}


def test_the_key_is_a_header_and_only_when_given() -> None:
    with_key, without = setup("secret"), setup()
    for one in (with_key, without):
        Chat(one)
    assert b"\r\nX-API-Key: secret\r\n" in with_key.requests[0].head
    assert b"X-API-Key" not in without.requests[0].head
    assert without.requests[0].head.startswith(b"POST /base/chat HTTP/1.1\r\nHost: 127.0.0.1:8000\r\n")


def answer(body: bytes) -> Answer:
    return Answer(200, b"HTTP/1.1 200 OK", body, len(body), reusable=True)


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"response":"hi","model":"m"}', None),
        (b'{"response":"","error":null}', None),
        (b'{"response":"hi","error":"no"}', "body holds an error"),
        (b'{"response":"hi","error":{}}', "body holds an error"),
        (b'{"response":null}', "body has no response"),
        (b'{"reply":"hi"}', "body has no response"),
        (b"[1]", "body is not a JSON object"),
        (b"<html>", "body is not a JSON object"),
        (b"", "body is not a JSON object"),
        (b'{"response":"hi"', "body is not a JSON object"),
        (b'{"response":' + b"[" * 200_000, "body is not a JSON object"),
    ],
)
def test_a_reply_needs_a_response_and_no_error(body: bytes, problem: str | None) -> None:
    assert check_reply(answer(body)) == problem
