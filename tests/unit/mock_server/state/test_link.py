"""Replies meet their callers: on a transport of our own, without a socket."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mock_server.errors import StorageUnavailableError
from mock_server.state.link import CLOSED, AwayError, RedisLink, RefusalError, ReplyError, ScriptMissingError


class FakeTransport(asyncio.Transport):
    def __init__(self) -> None:
        super().__init__()
        self.written: list[bytes] = []
        self.is_aborted = False

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    def abort(self) -> None:
        self.is_aborted = True


class FakeLoop:
    """Of a loop, what a link needs: a clock and one timer, both moved by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.timer: Callable[[], None] | None = None

    def time(self) -> float:
        return self.now_s

    def call_later(self, delay_s: float, callback: Callable[[], None]) -> "FakeLoop":
        self.timer = callback
        return self

    def cancel(self) -> None:
        self.timer = None

    def run_timer(self) -> None:
        if self.timer is not None:
            timer, self.timer = self.timer, None
            timer()


class Rig:
    def __init__(self) -> None:
        self.lost: list[tuple[str, int]] = []
        self.errors: list[str] = []
        self.answered: list[bool] = []
        self.link = RedisLink(
            0.25,
            self.answered.append,
            lambda reason, unanswered: self.lost.append((reason, unanswered)),
            lambda error: self.errors.append(error.reply),
        )
        self.transport = FakeTransport()
        self.link.connection_made(self.transport)

    def send(self, count: int) -> list[asyncio.Future[Any]]:
        futures = [asyncio.get_running_loop().create_future() for _ in range(count)]
        self.link.send([(b"*1\r\n$4\r\nPING\r\n", future) for future in futures])
        return futures


async def test_one_batch_is_one_write_and_replies_come_in_order() -> None:
    rig = Rig()
    futures = rig.send(3)
    assert len(rig.transport.written) == 1
    rig.link.data_received(b":1\r\n$2\r\nab\r\n:")
    rig.link.data_received(b"3\r\n")
    assert [future.result() for future in futures] == [1, b"ab", 3]
    assert rig.link.pending == 0
    rig.link.abort("closing")


async def test_replies_to_cancelled_callers_are_dropped_in_their_place() -> None:
    rig = Rig()
    futures = rig.send(3)
    futures[1].cancel()
    rig.link.data_received(b":1\r\n:2\r\n:3\r\n")
    assert (futures[0].result(), futures[2].result()) == (1, 3)
    rig.link.abort("closing")


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x00\xff\x00\r\n"])
async def test_a16_garbage_ends_the_link_and_fails_whoever_waits(garbage: bytes) -> None:
    rig = Rig()
    (future,) = rig.send(1)
    rig.link.data_received(garbage)
    with pytest.raises(StorageUnavailableError):
        future.result()
    assert rig.transport.is_aborted
    assert rig.lost == [("not the Redis protocol", 1)]


async def test_reply_nobody_asked_for_ends_the_link() -> None:
    rig = Rig()
    rig.link.data_received(b":1\r\n")
    assert rig.lost == [("not the Redis protocol", 0)]


async def test_lost_connection_fails_every_pending_command_once() -> None:
    rig = Rig()
    futures = rig.send(2)
    rig.link.connection_lost(None)
    rig.link.connection_lost(None)
    assert all(isinstance(future.exception(), StorageUnavailableError) for future in futures)
    assert rig.lost == [(CLOSED, 2)]


async def test_end_of_the_stream_ends_the_link_before_anything_more_is_sent() -> None:
    rig = Rig()
    rig.link.eof_received()
    assert rig.lost == [(CLOSED, 0)]
    (future,) = rig.send(1)
    assert not rig.transport.written
    assert isinstance(future.exception(), StorageUnavailableError), "a caller that nobody answers would wait for ever"


async def test_a07_a_reply_that_trickles_in_is_late_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    clock = FakeLoop()
    monkeypatch.setattr(rig.link, "_loop", clock)
    (future,) = rig.send(1)
    rig.link.data_received(b"$1000\r\n")
    clock.now_s += 0.25
    for _ in range(20):
        clock.run_timer()
        rig.link.data_received(b"x")
    assert rig.lost == [("no reply in time", 1)]
    assert isinstance(future.exception(), StorageUnavailableError)


@pytest.mark.parametrize(
    "reply", ["LOADING x", "READONLY x", "OOM x", "MISCONF x", "BUSY x", "CLUSTERDOWN x", "NOAUTH x"]
)
async def test_a11_error_replies_are_storage_unavailable(reply: str) -> None:
    rig = Rig()
    (future,) = rig.send(1)
    rig.link.data_received(f"-{reply}\r\n".encode())
    error = future.exception()
    assert isinstance(error, RefusalError)
    assert isinstance(error, AwayError)
    assert isinstance(error, StorageUnavailableError)
    assert reply not in error.message
    assert rig.answered == [False], "nothing was answered that would speak for Redis"
    assert rig.errors == [reply]
    assert not rig.transport.is_aborted
    rig.link.abort("closing")


@pytest.mark.parametrize("reply", ["WRONGTYPE x", "ERR unknown command", "ERR script x"])
async def test_errors_of_one_command_do_not_say_that_redis_is_away(reply: str) -> None:
    rig = Rig()
    (future,) = rig.send(1)
    rig.link.data_received(f"-{reply}\r\n".encode())
    assert isinstance(future.exception(), ReplyError)
    assert not isinstance(future.exception(), AwayError)
    rig.link.abort("closing")


async def test_refusals_inside_of_a_script_are_found_in_the_words_of_older_servers() -> None:
    rig = Rig()
    (future,) = rig.send(1)
    rig.link.data_received(b"-ERR Error running script (call to f_1): @user_script:2: -OOM command not allowed\r\n")
    assert isinstance(future.exception(), RefusalError)
    rig.link.abort("closing")


async def test_a12_a_server_that_turns_the_connection_away_is_heard_before_anything_is_sent() -> None:
    rig = Rig()
    rig.link.data_received(b"-ERR max number of clients reached\r\n")
    assert rig.lost == [("ERR max number of clients reached", 0)]


async def test_what_was_sent_and_lost_is_told_apart_from_what_was_not() -> None:
    rig = Rig()
    (sent,) = rig.send(1)
    rig.link.connection_lost(None)
    (unsent,) = rig.send(1)
    errors = [sent.exception(), unsent.exception()]
    assert [isinstance(error, AwayError) and error.was_sent for error in errors] == [True, False]


async def test_missing_script_is_told_apart() -> None:
    rig = Rig()
    (future,) = rig.send(1)
    rig.link.data_received(b"-NOSCRIPT No matching script.\r\n")
    assert isinstance(future.exception(), ScriptMissingError)
    rig.link.abort("closing")
