"""WebSockets under uvicorn: frames parsed by `websockets`, and everything that could grow or last for ever bounded.

uvicorn's own protocol lets a close frame wait behind a full buffer, keeps the socket of a client that never reads,
and logs the query, which may hold a key.
"""

import asyncio
import itertools
import logging
import time
from collections.abc import Sequence
from enum import Enum
from typing import Any, cast

from uvicorn.config import Config
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState
from websockets.frames import CloseCode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from mock_server.asgi import ClientGoneError, Message, Scope
from mock_server.core.frames import PING, build_close_frame, build_frame, build_text_frame
from mock_server.protocol.handshake import build_bad_handshake, build_response, build_scope
from mock_server.protocol.inbox import Inbox
from mock_server.protocol.kernel import bound_buffers, has_hung_up, release
from mock_server.protocol.outbox import Outbox
from mock_server.protocol.transport import TickTransport
from mock_server.wire import WIRE, Listener, WireLimits

# So little lies in the kernel that a slow reader gets to the close frame within the grace, and so much that a client
# 50 ms away can be sent 300 KB/s: some 6,000 tokens a second.
SEND_BUFFER_BYTES = 16_384
# What a client may have on its way while its messages wait for their turn.
RECEIVE_BUFFER_BYTES = 65_536
# From a close frame until the socket is taken away from a client that neither reads nor answers.
CLOSE_GRACE_S = 4.0
_PING = build_frame(PING, b"")
_GOLDEN_RATIO = 0.618033988749895

_log = logging.getLogger(__name__)
# The library says of each connection that it closed.
_library_log = logging.getLogger(f"{__name__}.library")
_library_log.setLevel(logging.ERROR)
_numbers = itertools.count()


class Stage(Enum):
    """Where a connection stands."""

    HANDSHAKE = 0
    OPEN = 1
    CLOSING = 2
    LOST = 3


class ConsoulWebSocketProtocol(asyncio.Protocol):
    """One connection from its upgrade on; its endpoint finds it in the scope as its `Wire`."""

    _transport: asyncio.Transport
    _outbox: Outbox

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ):
        self._config = config
        self._server_state = server_state
        self._app_state = app_state
        self._loop = _loop or asyncio.get_event_loop()
        self._conn = ServerProtocol(max_size=config.ws_max_size, logger=_library_log)
        self._stage = Stage.HANDSHAKE
        self._response: Response | None = None
        self._refusal: tuple[int, list[tuple[bytes, bytes]]] | None = None
        self._listener: Listener | None = None
        self._inbox = Inbox(self._conn, self._loop, self)
        self._was_heard = True
        self._was_pinged = False
        self._ping_timer: asyncio.TimerHandle | None = None
        self._grace_timer: asyncio.TimerHandle | None = None

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, TickTransport):
            transport = transport.inner
        self._transport = cast(asyncio.Transport, transport)
        self._server_state.connections.add(cast(Any, self))
        bound_buffers(transport, SEND_BUFFER_BYTES, RECEIVE_BUFFER_BYTES)
        self._outbox = Outbox(self._transport, self._loop, self._on_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stage = Stage.LOST
        self._server_state.connections.discard(cast(Any, self))
        for timer in (self._ping_timer, self._grace_timer):
            if timer is not None:
                timer.cancel()
        self._ping_timer = self._grace_timer = None
        self._outbox.drop()
        self._end(CloseCode.ABNORMAL_CLOSURE)
        self._inbox.lose()
        # The parser leads back to its owner: each connection would stay until the garbage collector came by.
        self._conn.parser = cast(Any, None)

    def pause_writing(self) -> None:
        self._outbox.pause()

    def resume_writing(self) -> None:
        self._outbox.resume()

    def eof_received(self) -> None:
        """Takes a half-closed connection for a closed one: RFC 6455 knows no way to end but a close frame."""
        if self._stage is not Stage.CLOSING:
            self._end(CloseCode.ABNORMAL_CLOSURE)
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        self._was_heard = True
        self._inbox.feed(data)

    def shutdown(self) -> None:
        """Told by uvicorn that the worker ends: an endpoint closes once nothing of it runs any more."""
        if self._stage is Stage.OPEN and self._listener is not None:
            self._listener.on_drain()
        else:
            self.close(CloseCode.SERVICE_RESTART, "service restart")

    # What the inbox tells.

    def on_request(self, request: Request) -> None:
        """Hands the handshake to the application, or refuses it."""
        response = self._conn.accept(request)
        if response.status_code != 101:
            self._refuse(build_bad_handshake(response.status_code, time.time()))
            return
        self._response = response
        extensions = {"websocket.http.response": {}, WIRE: self}
        scope = build_scope(request, self._config.root_path, self._app_state, extensions)
        scope["scheme"] = "ws"
        scope["client"], scope["server"] = get_remote_addr(self._transport), get_local_addr(self._transport)
        self._inbox.push({"type": "websocket.connect"})
        task = self._loop.create_task(self._run(scope))
        self._server_state.tasks.add(task)
        task.add_done_callback(self._server_state.tasks.discard)

    def on_ping(self) -> None:
        """Answers it."""
        self._outbox.answer_ping(b"".join(self._conn.data_to_send()))

    def on_close(self) -> None:
        """Answers a close frame, or takes it for the answer to ours; then the server is the first to end."""
        if self._stage is Stage.OPEN:
            assert self._conn.close_rcvd is not None
            self._start_closing()
            self._outbox.drop(b"".join(self._conn.data_to_send()))
            self._end(self._conn.close_rcvd.code)
        self._transport.close()

    def on_failure(self) -> None:
        """Sends the close frame the parser asks for and half-closes.

        What still comes is read and thrown away for the grace: closing on unread bytes would be a reset, which may
        overtake the close frame.
        """
        if self._stage is Stage.HANDSHAKE:
            self._refuse(build_bad_handshake(400, time.time()))
            return
        assert self._conn.close_sent is not None
        self._outbox.drop(b"".join(self._conn.data_to_send()))
        self._start_closing()
        self._end(self._conn.close_sent.code)
        if not self._transport.is_closing():
            self._transport.write_eof()

    # The application.

    async def _run(self, scope: Scope) -> None:
        code = CloseCode.NORMAL_CLOSURE
        try:
            await self._config.loaded_app(scope, self._inbox.receive, self.send)
        except ClientGoneError:
            pass
        except asyncio.CancelledError:
            code = CloseCode.SERVICE_RESTART
            raise
        except Exception:  # noqa: BLE001 - the top of a task: nothing above would tell anybody
            _log.exception("A WebSocket's endpoint failed.")
            code = CloseCode.INTERNAL_ERROR
        finally:
            self.close(code, "")

    def attach(self, listener: Listener, limits: WireLimits) -> None:
        """Sets whom to tell, and the bounds."""
        self._listener = listener
        self._outbox.limits = limits

    async def send(self, message: Message) -> None:
        """Takes an ASGI message; what a busy endpoint sends goes through `send_frames`."""
        kind = message["type"]
        if self._stage is Stage.HANDSHAKE:
            self._answer_handshake(kind, message)
        elif self._stage is not Stage.OPEN:
            raise ClientGoneError
        elif kind == "websocket.close":
            self.close(message.get("code", CloseCode.NORMAL_CLOSURE), message.get("reason") or "")
        elif kind == "websocket.send":
            text = message.get("text")
            frame = build_text_frame(text.encode()) if text is not None else build_frame(0x2, message["bytes"])
            await self._outbox.send([frame])
        else:
            raise RuntimeError(f"{kind!r} cannot be sent on an accepted WebSocket; 'websocket.send' or '.close' can")

    async def send_frames(self, frames: Sequence[bytes]) -> None:
        """Sends whole frames in order; waits while the client's queue is full. Raises ClientGoneError."""
        await self._outbox.send(frames)

    def has_left(self) -> bool:
        """Returns whether the client has gone, seen past what it sent before."""
        return self._transport.is_closing() or has_hung_up(self._transport)

    def _answer_handshake(self, kind: str, message: Message) -> None:
        if self._transport.is_closing():
            raise ClientGoneError
        if kind == "websocket.accept":
            assert self._response is not None
            for name, value in message.get("headers", ()):
                self._response.headers[name.decode("latin-1")] = value.decode("latin-1")
            self._conn.send_response(self._response)
            self._response = None
            self._stage = Stage.OPEN
            self._inbox.transport = self._transport
            self._transport.write(b"".join(self._conn.data_to_send()))
            self._start_pinging()
        elif kind == "websocket.http.response.start":
            self._refusal = (message["status"], list(message["headers"]))
        elif kind == "websocket.http.response.body" and self._refusal is not None:
            self._refuse(build_response(*self._refusal, message["body"]))
        elif kind == "websocket.close":
            self._refuse(build_response(403, [], b""))
        else:
            raise RuntimeError(f"{kind!r} cannot answer a handshake; 'websocket.accept' or '.close' can")

    # Keep-alive.

    def _start_pinging(self) -> None:
        interval_s = self._config.ws_ping_interval
        if interval_s:
            # Connections opened in one moment are pinged spread over half an interval, not in one.
            phase = next(_numbers) * _GOLDEN_RATIO % 1
            self._ping_timer = self._loop.call_later(interval_s * (0.5 + phase / 2), self._ping)

    def _ping(self) -> None:
        """Sends the next ping, or ends a connection on which nothing came since the last.

        While the client has to read first, the time-out of sends is what judges it.
        """
        self._ping_timer = None
        if self._stage is not Stage.OPEN:
            return
        if self._was_pinged and not self._was_heard and not self._inbox.has_held and not self._outbox.is_blocked:
            self._conn.fail(CloseCode.INTERNAL_ERROR, "keepalive ping timeout")
            self._stage = Stage.CLOSING
            self._outbox.drop(b"".join(self._conn.data_to_send()))
            self._end(CloseCode.INTERNAL_ERROR)
            self._transport.abort()
            return
        self._was_heard = False
        self._inbox.has_held = not self._inbox.is_reading
        self._was_pinged = not self._outbox.is_ended and not self._outbox.is_blocked
        if self._was_pinged:
            self._transport.write(_PING)
        interval_s = self._config.ws_ping_interval
        assert interval_s is not None
        self._ping_timer = self._loop.call_later(interval_s, self._ping)

    # Ends.

    def close(self, code: int, reason: str) -> None:
        """Ends the connection behind what waits for the client, within the time-out of sends and the grace."""
        if self._stage is Stage.HANDSHAKE:
            self._refuse(build_response(503 if code == CloseCode.SERVICE_RESTART else 500, [], b""))
        elif self._stage is Stage.OPEN:
            self._conn.send_close(code, reason)
            self._outbox.append_last(b"".join(self._conn.data_to_send()))
            self._start_closing(self._outbox.limits.send_timeout_s if self._outbox.waiting else 0.0)
            self._end(code)
            # The client's close frame may have come already, behind messages nobody will answer.
            self._inbox.feed(b"")

    def _on_slow(self, reason: str) -> None:
        """Closes past what waits; a client that begins to read within the grace sees 1008."""
        frame = b""
        if self._conn.state is State.OPEN:
            self._conn.send_close(CloseCode.POLICY_VIOLATION, "Client too slow")
            frame = b"".join(self._conn.data_to_send())
        elif self._outbox.waiting:
            frame = build_close_frame(CloseCode.POLICY_VIOLATION, "Client too slow")
        if self._listener is not None:
            self._listener.on_slow(reason)
        self._outbox.drop(frame)
        self._start_closing()
        self._end(CloseCode.POLICY_VIOLATION)

    def _refuse(self, answer: bytes) -> None:
        self._start_closing()
        self._end(CloseCode.ABNORMAL_CLOSURE)
        if not self._transport.is_closing():
            self._transport.write(answer)
            self._transport.close()

    def _start_closing(self, more_s: float = 0.0) -> None:
        """Sees to it that the socket is free after the grace, whatever the client does."""
        self._stage = Stage.CLOSING
        if self._grace_timer is not None:
            self._grace_timer.cancel()
        self._grace_timer = self._loop.call_later(CLOSE_GRACE_S + more_s, release, self._transport)

    def _end(self, code: int) -> None:
        """Tells the endpoint, once, that it is over; messages of a client that left are not answered."""
        self._inbox.end(code)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.on_end()
