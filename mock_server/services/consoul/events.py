"""Server-sent events of one answer: how each looks, and sending them to a client that may not read."""

import asyncio
import functools
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mock_server.asgi import Headers, Send

_START: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
_encode = msgspec.json.Encoder().encode


def build_event(name: str, data: Any) -> bytes:
    """Returns one event; JSON holds no line break, so that its data is one line."""
    return b"event: %s\ndata: %s\n\n" % (name.encode("ascii"), _encode(data))


@functools.lru_cache(maxsize=1024)
def build_token(text: str) -> bytes:
    """Returns the event of one token; answers are made of few words."""
    return build_event("token", {"text": text})


class EventStream:
    """Answers one request with events; begins the answer with the first of them.

    A send that does not end within `send_timeout_s`, since the client does not read, calls `on_slow` once.
    """

    def __init__(self, send: Send, headers: Headers, send_timeout_s: float, on_slow: Callable[[], None]):
        self._send = send
        self._headers = headers
        self._send_timeout_s = send_timeout_s
        self._on_slow = on_slow
        self._loop = asyncio.get_running_loop()
        self._sending_since_s: float | None = None
        # One timer for the whole stream: one for each send would cost more than the send.
        self._timer = self._loop.call_later(send_timeout_s, self._check)
        self.has_started = False

    async def emit(self, run: Sequence[str]) -> None:
        """Sends the tokens of a run in one piece."""
        body = b"".join([build_token(text) for text in run]) if len(run) > 1 else build_token(run[0])
        if not self.has_started:
            await self._start(())
        await self._push(body, True)

    async def end(self, name: str, data: Any, headers: Sequence[tuple[bytes, bytes]] = ()) -> None:
        """Sends the last event; `headers` are added when it is the first too."""
        if not self.has_started:
            await self._start(headers)
        await self._push(build_event(name, data), False)

    def close(self) -> None:
        """Stops watching the sends; whatever became of the stream, it is called once."""
        self._timer.cancel()

    async def _start(self, headers: Sequence[tuple[bytes, bytes]]) -> None:
        self.has_started = True
        self._sending_since_s = self._loop.time()
        # Both may say that memory stood in for Redis.
        given = dict.fromkeys([*_START, *self._headers, *headers])
        await self._send({"type": "http.response.start", "status": 200, "headers": list(given)})

    async def _push(self, body: bytes, is_more: bool) -> None:
        self._sending_since_s = self._loop.time()
        await self._send({"type": "http.response.body", "body": body, "more_body": is_more})
        self._sending_since_s = None

    def _check(self) -> None:
        since_s = self._sending_since_s
        sent_for_s = 0.0 if since_s is None else self._loop.time() - since_s
        if sent_for_s >= self._send_timeout_s:
            self._on_slow()
        else:
            self._timer = self._loop.call_later(self._send_timeout_s - sent_for_s, self._check)
