"""One chat over one WebSocket: messages answered in order, while the connection is watched for its end."""

import asyncio
import logging
from collections import deque
from collections.abc import Sequence

import msgspec

from mock_server.asgi import CLIENT_GONE, DEGRADED_HEADER, ClientGoneError, Message, Receive, Scope
from mock_server.core.clock import Clock
from mock_server.errors import InternalError, RequestError, status_of
from mock_server.metrics import WEBSOCKET_ENDPOINT, WEBSOCKET_MESSAGE, Metrics
from mock_server.services.consoul.conversation import Conversation, Question
from mock_server.services.consoul.guard import Caller, Guard
from mock_server.services.consoul.socket_messages import done_frame, error_frame, parse_content, token_frame
from mock_server.wire import Wire

# So many messages of a client wait for their answers; then nothing more is read until one is done.
MAX_WAITING = 8
# How often a client that is made to wait is looked after.
LOOK_AFTER_S = 1.0
GOING_AWAY = 1001
SERVICE_RESTART = 1012

_log = logging.getLogger(__name__)


class Asked(msgspec.Struct, frozen=True, gc=False):
    """A message that waits for its answer; `error` is why it cannot be answered."""

    content: str
    error: RequestError | None
    arrived_s: float


class SocketChat:
    """`run` reads until the connection ends; a second task answers, and lives only while it has something to."""

    def __init__(
        self, guard: Guard, conversation: Conversation, metrics: Metrics, clock: Clock, idle_timeout_s: float
    ):
        self._guard = guard
        self._conversation = conversation
        self._metrics = metrics
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        self._waiting: deque[Asked] = deque()
        self._answering: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None
        self._is_draining = False
        self._count = 0

    async def run(
        self, wire: Wire, scope: Scope, caller: Caller, session_id: str, request_id: str, receive: Receive
    ) -> None:
        """Returns when the connection has ended and nothing of it runs any more."""
        self._wire = wire
        self._scope = scope
        self._caller = caller
        self._session_id = session_id
        self._request_id = request_id
        loop = asyncio.get_running_loop()
        self._active_s = loop.time()
        self._idle_timer = loop.call_later(self._idle_timeout_s, self._check_idle)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self._take(message)
                if len(self._waiting) >= MAX_WAITING and not await self._has_room(loop.create_future()):
                    return
        finally:
            self._idle_timer.cancel()
            self._waiting.clear()
            if self._answering is not None:
                self._answering.cancel()
                await asyncio.gather(self._answering, return_exceptions=True)
            # This object and its connection lead to each other.
            del self._wire, self._scope

    async def _has_room(self, room: asyncio.Future[None]) -> bool:
        """Waits until fewer messages wait; returns whether the client stayed: nothing of it is read meanwhile."""
        self._room = room
        while not (await asyncio.wait({room}, timeout=LOOK_AFTER_S))[0]:
            if self._wire.has_left():
                return False
        return True

    def _take(self, message: Message) -> None:
        text = message.get("text")
        content, problem = "", None
        try:
            content = parse_content(message["bytes"] if text is None else text)
        except RequestError as error:
            problem = error
        self._waiting.append(Asked(content, problem, self._clock.monotonic_s()))
        if self._answering is None:
            self._answering = asyncio.get_running_loop().create_task(self._answer_all())

    # What the connection tells.

    def on_slow(self, reason: str) -> None:
        """Counts it; the end follows."""
        self._metrics.streams.slow_disconnects[reason].inc()

    def on_drain(self) -> None:
        """Lets a running answer end; messages that wait for their turn are not started any more."""
        self._is_draining = True
        self._waiting.clear()
        if self._answering is None:
            self._wire.close(SERVICE_RESTART, "service restart")

    def on_end(self) -> None:
        """Lets `run` see the disconnect, even while it waits for room; that ends the call to the provider."""
        self._let_read()

    def _let_read(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    def _check_idle(self) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._answering is not None:
            self._active_s = now_s
        left_s = self._active_s + self._idle_timeout_s - now_s
        if left_s <= 0:
            self._wire.close(GOING_AWAY, "idle")
        else:
            self._idle_timer = asyncio.get_running_loop().call_later(left_s, self._check_idle)

    # Answers.

    async def _answer_all(self) -> None:
        try:
            while self._waiting:
                asked = self._waiting.popleft()
                if len(self._waiting) < MAX_WAITING // 2:
                    self._let_read()
                await self._answer(asked)
        except ClientGoneError:
            return
        finally:
            self._answering = None
            self._active_s = asyncio.get_running_loop().time()
        if self._is_draining:
            self._wire.close(SERVICE_RESTART, "service restart")

    async def _answer(self, asked: Asked) -> None:
        requests = self._metrics.requests
        requests.in_flight.inc()
        status = CLIENT_GONE
        self._count += 1
        try:
            if asked.error is not None:
                raise asked.error
            await self._take_turn(asked)
            status = 200
        except RequestError as error:
            status = status_of(error)
            await self._report(error)
        except (ClientGoneError, asyncio.CancelledError):
            raise
        except Exception:  # noqa: BLE001 - one message failed; the connection and its others live on
            _log.exception("Message failed.", extra={"request_id": self._message_id()})
            status = InternalError.status
            await self._report(InternalError())
        finally:
            requests.in_flight.dec()
            duration_s = self._clock.monotonic_s() - asked.arrived_s
            requests.observe(WEBSOCKET_ENDPOINT, WEBSOCKET_MESSAGE, status, duration_s)

    async def _report(self, error: RequestError) -> None:
        self._metrics.requests.count_error(WEBSOCKET_ENDPOINT, error.error_type)
        await self._wire.send_frames([error_frame(error)])

    async def _take_turn(self, asked: Asked) -> None:
        headers = await self._guard.charge(self._caller, self._scope)
        question = Question(
            self._session_id, asked.content, None, self._caller.owner, self._message_id(), "websocket"
        )
        reply = await self._conversation.stream_turn(question, self._emit)
        duration_s = self._clock.monotonic_s() - asked.arrived_s
        is_degraded = reply.is_degraded or DEGRADED_HEADER in headers
        await self._wire.send_frames([done_frame(reply, duration_s, is_degraded)])
        self._metrics.requests.observe_overhead(WEBSOCKET_ENDPOINT, max(0.0, duration_s - reply.provider_s))

    async def _emit(self, tokens: Sequence[str]) -> None:
        await self._wire.send_frames([token_frame(token) for token in tokens])

    def _message_id(self) -> str:
        return f"{self._request_id}-{self._count}"
