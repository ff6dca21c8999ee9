"""The Redis client: all commands of one turn of the event loop leave as one pipeline on one connection."""

import asyncio
import logging
from collections import deque
from typing import Any

from mock_server.errors import StorageSaturatedError, StorageUnavailableError
from mock_server.state.address import RedisAddress
from mock_server.state.link import CLOSED, Command, Part, RedisLink, ReplyError, fail_unavailable, pack_command

_log = logging.getLogger(__name__)

TIMEOUT_S = 0.25
MAX_WAITING = 10_000
_RETRY_AFTER_S = 1.0
_REFUSALS_EVERY_S = 1.0


class Coalescer:
    """Sends commands, at most `max_in_flight` unanswered at once; the rest wait, at most `MAX_WAITING` of them.

    Connects when first used and again after a loss; nothing is sent twice. A command waits at most about `timeout_s`
    for its turn and as long for its reply; it ends with that, or with StorageUnavailableError (Redis is away) or
    StorageSaturatedError (too many wait, or for too long).
    """

    def __init__(self, address: RedisAddress, max_in_flight: int, timeout_s: float = TIMEOUT_S):
        self._address = address
        self._timeout_s = timeout_s
        self.max_in_flight = max_in_flight
        self._waiting: deque[tuple[Command, float]] = deque()
        self._flushed_s = 0.0
        self._refused_s = -_REFUSALS_EVERY_S
        self._link: RedisLink | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._flush_due = False
        self._is_away = False
        self._loop: asyncio.AbstractEventLoop | None = None

    @property
    def in_flight(self) -> int:
        """Number of commands sent and not answered."""
        return self._link.pending if self._link is not None else 0

    def execute(self, *parts: Part) -> asyncio.Future[Any]:
        """Queues one command; the future holds the reply, RequestError or ScriptMissingError. It may be cancelled."""
        loop = self._loop
        if loop is None:
            # Asking for the running loop is a system call in Python 3.11, so it is asked once.
            loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        if len(self._waiting) >= MAX_WAITING:
            future.set_exception(StorageSaturatedError(retry_after_s=_RETRY_AFTER_S))
            return future
        self._waiting.append(((pack_command(parts), future), loop.time()))
        if not self._flush_due:
            self._flush_due = True
            loop.call_soon(self._flush)
        return future

    async def is_reachable(self) -> bool:
        """Returns whether Redis answers now."""
        try:
            return bool(await self.execute("PING") == b"PONG")
        except StorageUnavailableError:
            return False

    async def close(self) -> None:
        """Ends the connection; what waits fails."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._link is not None:
            self._link.abort("closing")

    def _flush(self) -> None:
        self._flush_due = False
        assert self._loop is not None
        if self._link is None:
            if self._waiting and self._connecting is None:
                self._connecting = self._loop.create_task(self._connect())
            return
        now_s = self._loop.time()
        room = self.max_in_flight - self._link.pending
        batch: list[Command] = []
        while self._waiting and len(batch) < room:
            command, queued_s = self._waiting.popleft()
            if command[1].done():
                continue
            # Only what an earlier flush passed over: a loop that lags makes nothing wait for Redis.
            if queued_s < self._flushed_s and now_s - queued_s > self._timeout_s:
                command[1].set_exception(StorageSaturatedError(retry_after_s=_RETRY_AFTER_S))
                continue
            batch.append(command)
        self._flushed_s = now_s
        if batch:
            self._link.send(batch)

    def _on_reply(self) -> None:
        if self._waiting and not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _on_lost(self, reason: str, unanswered: int) -> None:
        self._link = None
        if reason == CLOSED:
            # What waits was not sent: it goes over a new connection, whose failure fails it.
            self._on_reply()
        else:
            self._fail_waiting()
        if unanswered or reason != CLOSED:
            self._report_away(reason)

    def _on_error(self, reply: str) -> None:
        now_s = asyncio.get_running_loop().time()
        # A refused handshake is told as Redis being away.
        if self._link is not None and now_s - self._refused_s >= _REFUSALS_EVERY_S:
            self._refused_s = now_s
            # Only the first word: the rest may repeat arguments.
            _log.warning("Redis refused a command (%s): %s", reply.split(" ")[0], self._address)

    async def _connect(self) -> None:
        link = RedisLink(self._timeout_s, self._on_reply, self._on_lost, self._on_error)
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._open(link)
                await self._shake_hands(link)
            if not link.is_open:
                raise ConnectionResetError
        except (OSError, UnicodeError, TimeoutError, StorageUnavailableError) as error:
            reason = error.reply.split(" ")[0] if isinstance(error, ReplyError) else type(error).__name__
            self._report_away(reason)
            link.abort(reason)
            self._fail_waiting()
            return
        except asyncio.CancelledError:
            link.abort("closing")
            self._fail_waiting()
            raise
        finally:
            self._connecting = None
        self._link = link
        if self._is_away:
            self._is_away = False
            _log.warning("Redis is back: %s", self._address)
        self._flush()

    async def _open(self, link: RedisLink) -> None:
        loop, address, context = asyncio.get_running_loop(), self._address, self._address.ssl_context()
        if address.path is not None:
            await loop.create_unix_connection(lambda: link, address.path)
        else:
            await loop.create_connection(lambda: link, address.host, address.port, ssl=context)

    async def _shake_hands(self, link: RedisLink) -> None:
        loop = asyncio.get_running_loop()
        commands = [(pack_command(command), loop.create_future()) for command in self._address.handshake()]
        link.send(commands)
        results = await asyncio.gather(*(future for _, future in commands), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        fail_unavailable(future for (_, future), _ in waiting)

    def _report_away(self, reason: str) -> None:
        if not self._is_away and reason != "closing":
            self._is_away = True
            _log.warning("Redis is away (%s): %s", reason, self._address)
