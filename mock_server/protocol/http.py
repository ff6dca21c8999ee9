"""HTTP/1.1 as uvicorn speaks it through httptools, within limits: what breaks one is answered like any other error.

Written against the internals of uvicorn 0.54. Limits cost a request that arrives whole two comparisons; deadlines
cost it nothing, since connections are looked at every half second, in place of uvicorn's keep-alive timers.
"""

import asyncio
import urllib.parse
from collections.abc import Iterable
from enum import Enum
from typing import Any, cast

import httptools
from uvicorn import Config
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from mock_server.asgi import REFUSAL
from mock_server.errors import RequestError, RequestTimeoutError
from mock_server.protocol.cycle import RefusableCycle
from mock_server.protocol.intake import Intake, describe_garbage, find_unknown_method
from mock_server.protocol.limits import HttpLimits
from mock_server.protocol.transport import BoundedReader, Discard, TickTransport

_UNKNOWN_METHOD = "OTHER"


class Stage(Enum):
    """What of a request is still to come in."""

    BETWEEN = "nothing: all of the last request is there"
    HEAD = "the rest of the head"
    BODY = "the rest of the body"


# The hot path looks these up as globals.
_BETWEEN, _HEAD, _BODY = Stage


class _Refused(Exception):  # noqa: N818 - nothing went wrong here: it stops the parser
    """Ends the parser's work on what it was fed."""


class ConsoulHttpProtocol(HttpToolsProtocol):
    """One connection. What it refuses goes through the application, where it gets its id, is counted and answered."""

    cycle: RefusableCycle

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        limits: HttpLimits | None = None,
    ):
        super().__init__(config, server_state, app_state, _loop)
        self._limits = limits = limits or HttpLimits()
        self._most_headers = limits.headers
        self._most_head_bytes = limits.head_bytes
        self._stage = _BETWEEN
        # Of the request that is coming in in parts; which one that is, is known by its scope.
        self._part_of: Any = None
        self._intake = Intake(limits)
        self._is_large = False
        self._is_counting = False
        self._socket: asyncio.Transport
        self._discard: Discard | None = None
        self._answering: RefusableCycle | None = None
        # What the last sweep saw, and since when it is so.
        self._seen: tuple[Any, Stage | None] = (None, None)
        self._since_s = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._socket = cast(asyncio.Transport, transport)
        joined = TickTransport(self._socket, self.loop, self._close)
        super().connection_made(cast(asyncio.Transport, joined))

    def data_received(self, data: bytes) -> None:
        if self._stage is not _BETWEEN or len(data) > self._most_head_bytes:
            self._receive_in_parts(data)
            return
        self._feed(data)
        if self._stage is not _BETWEEN:
            self._note_part(data)

    def _receive_in_parts(self, data: bytes) -> None:
        """Feeds no more at once than a head may have, and looks after each part."""
        self._is_large = True
        size = self._most_head_bytes
        for start in range(0, len(data), size):
            part = data[start : start + size]
            if not self._feed(part):
                break
            if self._stage is not _BETWEEN:
                self._note_part(part)
            if self._discard is not None:
                break
        self._is_large = False
        if self._is_counting and self._stage is not _BODY:
            self._end_bounded_reading()

    def _feed(self, data: bytes) -> bool:
        """Returns whether more can be fed."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._discard is None:
                self._refuse_garbage(error, data)
            return False
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self.handle_websocket_upgrade()
            elif not self.cycle.response_complete:
                # Answered as if it asked for no upgrade; what the client sends next may be of that other protocol.
                self.cycle.keep_alive = False
            return False
        return True

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._stage = _HEAD

    def on_headers_complete(self) -> None:
        """As uvicorn's, but with limits, our cycle, and without its own bound on concurrency."""
        if self._is_large or len(self.headers) > self._most_headers:
            error = self._intake.check_whole_head(self.url, self.headers)
            if error is not None:
                self._refuse(error)
                raise _Refused
        parser, scope = self.parser, self.scope
        http_version = parser.get_http_version()
        scope["method"] = parser.get_method().decode("ascii")
        if http_version != "1.1":
            scope["http_version"] = http_version
        if parser.should_upgrade() and self._should_upgrade():
            self._stage = _BODY
            return
        self._set_target(self.url)
        keep_alive = http_version != "1.0" and parser.should_keep_alive()
        # A client that was not told to continue may leave its body out: what came next could be read as the body.
        self._enqueue(scope, keep_alive and not self.expect_100_continue)
        self._stage = _BODY
        # Trailers go where nobody takes them for headers.
        self.headers = []

    def on_body(self, body: bytes) -> None:
        cycle = self.cycle
        if self._is_counting:
            self._intake.body_bytes += len(body)
        if cycle.response_complete or (self.parser.should_upgrade() and self._should_upgrade()):
            return
        cycle.body += body
        if len(cycle.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._stage = _BETWEEN
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn's, but without its keep-alive timer: `sweep` closes what is idle."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)

    @property
    def is_idle(self) -> bool:
        """Whether no request is coming in, waits or is being answered."""
        return self._stage is _BETWEEN and (self.cycle is None or self.cycle.response_complete)

    def connection_lost(self, exc: Exception | None) -> None:
        """As uvicorn's, which tells the newest request only: with others behind it, the one under way hears too."""
        answering = self._answering
        if answering is not None and not answering.response_complete:
            answering.disconnected = True
            answering.message_event.set()
        super().connection_lost(exc)

    def _start_asgi_task(self, cycle: Any, app: Any) -> None:
        self._answering = cycle
        super()._start_asgi_task(cycle, app)

    def sweep(self, now_s: float) -> None:
        """Refuses a request that has been coming in for too long, closes a connection that has been idle too long."""
        stage = self._stage
        if self._discard is not None:
            return
        is_working = stage is _BETWEEN and self.cycle is not None and not self.cycle.response_complete
        if is_working or self._seen[0] is not self.scope or self._seen[1] is not stage:
            self._seen = (self.scope, None if is_working else stage)
            self._since_s = now_s
            return
        waited_s = now_s - self._since_s
        if stage is _BETWEEN:
            if waited_s >= self.timeout_keep_alive:
                self._end_idle()
        elif waited_s >= (self._limits.head_s if stage is _HEAD else self._limits.body_s):
            self._refuse(RequestTimeoutError(f"The request's {stage.name.lower()} took too long to come in."))

    def _end_idle(self) -> None:
        """Closes; a client that did not take its last answer would keep a closing transport for ever."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            self.transport.close()

    def _note_part(self, part: bytes) -> None:
        """Counts what came in of a request that is not whole yet."""
        intake = self._intake
        is_first = self._part_of is not self.scope
        self._part_of = self.scope
        error = None
        if self._stage is _HEAD:
            if is_first:
                intake.begin_head(part, self.url, self.headers)
            else:
                intake.add_to_head(part)
            error = intake.check_head_so_far(self.url)
        elif self._is_counting:
            intake.add_to_wire(len(part))
            error = intake.check_body()
        elif any(name == b"transfer-encoding" for name, _ in self.scope["headers"]):
            self._is_counting = True
            intake.begin_body(len(self.cycle.body))
            error = intake.check_body()
            if error is None:
                self.transport.set_protocol(BoundedReader(self))
        if error is not None:
            self._refuse(error)

    def _end_bounded_reading(self) -> None:
        self._is_counting = False
        if isinstance(self.transport.get_protocol(), BoundedReader):
            self.transport.set_protocol(self)

    def _refuse_garbage(self, error: httptools.HttpParserError, data: bytes) -> None:
        found = find_unknown_method(data) if isinstance(error, httptools.HttpParserInvalidMethodError) else None
        if found is None:
            self._refuse(describe_garbage(error))
            return
        self._take_input_away()
        self.scope["method"], target = found
        self._set_target(target)
        self._enqueue(self.scope, keep_alive=False, is_whole=True)

    def _refuse(self, error: RequestError) -> None:
        """Takes no more input; has `error` answered, where there is still something to answer."""
        if self._discard is not None:
            return
        self._take_input_away()
        if self._stage is not _BODY:
            method = self.parser.get_method().decode("ascii") if self.url else _UNKNOWN_METHOD
            own_id = [header for header in self.headers if header[0] == b"x-request-id"]
            self.scope["headers"] = own_id
            refused = {"method": method, "path": "", "raw_path": b"", "query_string": b"", REFUSAL: error}
            self._enqueue(self.scope | refused, keep_alive=False, is_whole=True)
        elif self.cycle.response_complete:
            self.transport.close()
        else:
            self.cycle.refuse(error)

    def _take_input_away(self) -> None:
        self._discard = Discard(self, self._socket, self._limits.past_bytes)
        self._socket.set_protocol(self._discard)

    def _close(self, transport: asyncio.Transport) -> None:
        """Closes so that an answer to a request that is still coming in arrives."""
        if self._discard is None and self._stage is _BODY:
            self._take_input_away()
        if self._discard is None:
            transport.close()
        else:
            self._discard.finish(self.loop, self._limits.linger_s)

    def _set_target(self, url: bytes) -> None:
        parsed = httptools.parse_url(url)
        raw_path = parsed.path
        path = raw_path.decode("ascii")
        if "%" in path:
            path = urllib.parse.unquote(path)
        self.scope["path"] = self.root_path + path
        self.scope["raw_path"] = self.root_path.encode("ascii") + raw_path
        self.scope["query_string"] = parsed.query or b""

    def _enqueue(self, scope: Any, keep_alive: bool, is_whole: bool = False) -> None:
        """Has the application answer, after the requests that came before on this connection."""
        before = self.cycle
        self.cycle = cycle = RefusableCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=self.expect_100_continue,
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.more_body = not is_whole
        if is_whole:
            cycle.message_event.set()
        if before is None or before.response_complete:
            self._start_asgi_task(cycle, self.app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((cycle, self.app))


def sweep(connections: Iterable[Any], now_s: float) -> None:
    """Holds every HTTP connection of a worker to its deadlines."""
    for connection in tuple(connections):
        if isinstance(connection, ConsoulHttpProtocol):
            connection.sweep(now_s)
