"""A client that posts one chat message an iteration and checks that it was answered."""

import msgspec

from loadtests.engine.answers import Answer
from loadtests.engine.behaviour import Behaviour, Caller, Setup

_MESSAGE = "Hi! This message belongs to a load test; a short reply is all that is needed."
_BODY = b'{"session_id":"%b","message":' + msgspec.json.encode(_MESSAGE) + b"}"


class _Reply(msgspec.Struct):
    """The two fields that tell success from failure; the others are the target's business."""

    response: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    error: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET


_decoder = msgspec.json.Decoder(_Reply)


class Chat(Behaviour):
    """`POST /chat` with the session the profile asks for."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._chat = setup.declare("consoul", "POST", "/chat", check_reply)

    def iterate(self, caller: Caller) -> None:
        caller.send(self._chat, _BODY % self.setup.session_id(caller.number, caller.iteration))


def check_reply(answer: Answer) -> str | None:
    """What is wrong with the body of a successful answer: not JSON, no `response`, or an `error`; None if nothing."""
    try:
        reply = _decoder.decode(answer.body)
    except (msgspec.DecodeError, RecursionError):
        return "body is not a JSON object"
    if reply.response is msgspec.UNSET or bytes(reply.response) == b"null":
        return "body has no response"
    if reply.error is not msgspec.UNSET and bytes(reply.error) != b"null":
        return "body holds an error"
    return None
