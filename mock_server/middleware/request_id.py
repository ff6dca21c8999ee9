"""Gives every request an id and every answer its `X-Request-ID`; watches the answer for the layers inside."""

import re
from collections.abc import Awaitable, Callable

from mock_server.asgi import ANSWER, REQUEST_ID, Answer, App, Receive, Scope, Send

_is_sane = re.compile(rb"[A-Za-z0-9._:-]{1,128}").fullmatch


class RequestId:
    """Takes the client's id when it is 1 to 128 plain characters, else makes one.

    A WebSocket has one too, for its endpoint to put into the answer to the handshake.
    """

    def __init__(self, app: App, make_id: Callable[[], bytes]):
        self._app = app
        self._make_id = make_id

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "lifespan":
            return self._app(scope, receive, send)
        request_id = None
        for name, value in scope["headers"]:
            if name == b"x-request-id" and _is_sane(value):
                request_id = value
        if request_id is None:
            request_id = self._make_id()
        scope[REQUEST_ID] = request_id
        if scope["type"] == "websocket":
            return self._app(scope, receive, send)
        answer = scope[ANSWER] = Answer(send, request_id)
        return self._app(scope, receive, answer.send)
