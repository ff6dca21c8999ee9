"""The Redis client: all commands of one turn of the event loop leave as one pipeline on one connection."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from mock_server.core.outage import Outage
from mock_server.errors import StorageSaturatedError, StorageUnavailableError
from mock_server.state.address import RedisAddress
from mock_server.state.link import (
    CLOSED,
    CLOSING,
    GARBAGE,
    TIMED_OUT,
    Command,
    Part,
    RedisLink,
    RefusalError,
    ReplyError,
    fail_away,
    pack_command,
)

_log = logging.getLogger(__name__)

TIMEOUT_S = 0.25
PROBE_TIMEOUT_S = 0.3
MAX_WAITING = 10_000
_RETRY_AFTER_S = 1.0
_TOLD_EVERY_S = 1.0
_TOO_MANY_CLIENTS = "ERR max number of clients"


class Coalescer:
    """Sends commands, at most `max_in_flight` unanswered at once; the rest wait, at most `MAX_WAITING` of them.

    Connects when first used and again after a loss; nothing is sent twice. A command waits at most about `timeout_s`
    for its turn and as long for its reply; it ends with that, or with StorageUnavailableError (Redis is away) or
    StorageSaturatedError (too many wait, or for too long).

    Counts failures in `outage`: each call that times out, but once for a connection that closes or cannot be made,
    since the next attempt tells the truth at once. During an outage every call fails at once; `on_away` is told when
    one begins, and whoever sees `probe` succeed ends it.
    """

    def __init__(
        self,
        address: RedisAddress,
        max_in_flight: int,
        timeout_s: float = TIMEOUT_S,
        probe_key: str = "consoul:{probe}",
        outage: Outage | None = None,
    ):
        self.address = address
        self._timeout_s = timeout_s
        self._probe_key = probe_key
        self.max_in_flight = max_in_flight
        self.outage = outage or Outage()
        self.on_away: Callable[[], None] = _do_nothing
        self._waiting: deque[tuple[Command, float]] = deque()
        self._flushed_s = 0.0
        self._told_s = -_TOLD_EVERY_S
        self._link: RedisLink | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._failed = ""
        self._flush_due = False
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
        if self.outage.is_away:
            fail_away((future,), was_sent=False)
            return future
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

    async def probe(self) -> None:
        """Writes a key that expires at once, even during an outage; raises StorageUnavailableError.

        Only a write shows that Redis is of use: one that is full or a replica answers PING.
        """
        loop = self._loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(((pack_command(("SET", self._probe_key, 1, "PX", 1)), future), loop.time()))
        self._wake()
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                await future
        except TimeoutError:
            self._failed = TIMED_OUT
            raise StorageUnavailableError(retry_after_s=_RETRY_AFTER_S) from None

    async def start(self) -> None:
        """Connects; takes Redis for away at once when that fails."""
        # Until it is known, what fails counts for nothing and is told once.
        self.outage.begin()
        try:
            await self.probe()
        except StorageSaturatedError:
            pass
        except StorageUnavailableError:
            # Another client of the same server may have ended it meanwhile.
            self.outage.begin()
            self._announce_outage()
            return
        self.outage.end()

    async def close(self) -> None:
        """Ends the connection; what waits fails."""
        if self._connecting is not None:
            self._connecting.cancel()
            await asyncio.gather(self._connecting, return_exceptions=True)
        if self._link is not None:
            self._link.abort(CLOSING)

    def _wake(self) -> None:
        if self._waiting and not self._flush_due:
            self._flush_due = True
            asyncio.get_running_loop().call_soon(self._flush)

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

    def _on_reply(self, is_answered: bool) -> None:
        # What is answered while connecting says nothing yet of calls.
        if is_answered and self.outage.failures and self._link is not None:
            self.outage.succeed()
        if self._waiting:
            self._wake()

    def _on_lost(self, reason: str, unanswered: int) -> None:
        if self._link is None:
            # While connecting: the attempt itself fails, and counts.
            self._failed = reason
            return
        self._link = None
        if reason == CLOSED and not unanswered:
            # What waits was not sent: it goes over a new connection, whose failure fails it.
            self._wake()
        elif reason == CLOSED:
            self._count_failure(reason)
            self._wake()
        else:
            if reason != CLOSING:
                self._count_failure(reason, unanswered if reason == TIMED_OUT else 1)
            self._fail_waiting()

    def _on_error(self, error: ReplyError) -> None:
        if self._link is None:
            return
        # Only the first word: the rest may repeat arguments.
        self._failed = error.reply.split(" ")[0]
        if isinstance(error, RefusalError) and self.outage.refuse():
            self._announce_outage()
        elif not self.outage.is_away:
            self._tell("Redis refused a command (%s): %s")

    async def _connect(self) -> None:
        link = RedisLink(self._timeout_s, self._on_reply, self._on_lost, self._on_error)
        self._failed = ""
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._open(link)
                await self._shake_hands(link)
            if not link.is_open:
                raise ConnectionResetError
        except (OSError, UnicodeError, StorageUnavailableError) as error:
            reason = error.reply if isinstance(error, ReplyError) else self._failed or type(error).__name__
            link.abort(CLOSING)
            self._on_no_connection(TIMED_OUT if isinstance(error, TimeoutError) else reason)
            return
        except asyncio.CancelledError:
            link.abort(CLOSING)
            self._fail_waiting()
            raise
        finally:
            self._connecting = None
        self._link = link
        self._flush()

    def _on_no_connection(self, reason: str) -> None:
        if reason.startswith(_TOO_MANY_CLIENTS):
            # Redis serves others: it is full, not away.
            self._failed = "too many clients"
            self._tell("Redis takes no more connections (%s): %s")
            waiting, self._waiting = self._waiting, deque()
            for (_, future), _ in waiting:
                if not future.done():
                    future.set_exception(StorageSaturatedError(retry_after_s=_RETRY_AFTER_S))
            return
        shown = reason if reason in (CLOSED, GARBAGE, TIMED_OUT) else reason.split(" ")[0]
        self._count_failure(shown, len(self._waiting) if reason == TIMED_OUT else 1)
        self._fail_waiting()

    async def _open(self, link: RedisLink) -> None:
        loop, address, context = asyncio.get_running_loop(), self.address, self.address.ssl_context()
        if address.path is not None:
            await loop.create_unix_connection(lambda: link, address.path)
        else:
            await loop.create_connection(lambda: link, address.host, address.port, ssl=context)

    async def _shake_hands(self, link: RedisLink) -> None:
        loop = asyncio.get_running_loop()
        commands = [(pack_command(command), loop.create_future()) for command in self.address.handshake()]
        link.send(commands)
        results = await asyncio.gather(*(future for _, future in commands), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    def _fail_waiting(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        fail_away((future for (_, future), _ in waiting), was_sent=False)

    def _count_failure(self, reason: str, calls: int = 1) -> None:
        self._failed = reason
        if self.outage.fail(calls):
            self._announce_outage()
        elif not self.outage.is_away:
            self._tell("Redis failed calls (%s): %s")

    def _announce_outage(self) -> None:
        _log.warning("Redis is away (%s): %s", self._failed, self.address)
        self._fail_waiting()
        self.on_away()

    def _tell(self, text: str) -> None:
        now_s = asyncio.get_running_loop().time()
        if now_s - self._told_s >= _TOLD_EVERY_S:
            self._told_s = now_s
            _log.warning(text, self._failed, self.address)


def _do_nothing() -> None:
    return
