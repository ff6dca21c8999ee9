"""The protocol on a transport without a socket, in a loop whose clock jumps."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from mock_server.asgi import ClientGoneError
from mock_server.core.frames import build_text_frame
from mock_server.protocol.websocket import CLOSE_GRACE_S
from mock_server.wire import WireLimits
from tests.reliability.raw_websocket import BINARY, CLOSE, PING, PONG, TEXT, build_frame
from tests.unit.mock_server.protocol.sockets import HANDSHAKE, Connection, settle
from tests.unit.mock_server.virtual_time import read_clock, run_virtually

LIMITS = WireLimits(max_frames=300, send_timeout_s=5.0)
TOKEN = build_text_frame(b"x" * 98)
CLOSE_TOO_SLOW = (CLOSE, b"\x03\xf0Client too slow")


def virtually(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Runs an asynchronous test in virtual time."""

    def run(*arguments: Any) -> None:
        run_virtually(test(*arguments))

    run.__name__ = test.__name__
    return run


async def lose(connection: Connection) -> None:
    connection.protocol.connection_lost(None)
    await settle()


@virtually
async def test_handshake_is_accepted_with_the_headers_of_the_endpoint() -> None:
    connection = await Connection().open()
    assert connection.answer.startswith(b"HTTP/1.1 101 ")
    # The example of RFC 6455, section 1.3.
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in connection.answer
    assert b"x-request-id: r" in connection.answer
    await lose(connection)
    assert not connection.state.connections
    assert not connection.state.tasks


@virtually
async def test_handshake_of_another_version_is_refused_in_the_error_shape() -> None:
    connection = await Connection().open(HANDSHAKE.replace(b"Version: 13", b"Version: 12"))
    assert connection.answer.startswith(b"HTTP/1.1 400 ")
    assert connection.transport.taken.startswith(b'{"code":"E007"')
    assert "closed" in connection.transport.state
    await lose(connection)


@virtually
async def test_messages_reach_the_endpoint_one_by_one_and_reading_waits_for_it() -> None:
    connection = await Connection().open()
    connection.is_taking.clear()
    for number in range(50):
        connection.receive(TEXT, b"%d" % number)
    assert "paused" in connection.transport.state
    connection.is_taking.set()
    await settle()
    for _ in range(20):
        await settle()
    assert [event["text"] for event in connection.events[1:]] == [str(number) for number in range(50)]
    assert "paused" not in connection.transport.state
    await lose(connection)


@virtually
async def test_many_tiny_messages_in_one_piece_are_parsed_a_few_at_a_time() -> None:
    connection = await Connection().open()
    connection.is_taking.clear()
    await settle()
    connection.protocol.data_received(build_frame(TEXT, b"{}") * 10_000)
    # One slice of 1,024 bytes, 8 bytes each.
    assert len(connection.protocol._inbox._messages) <= 128
    await lose(connection)


@virtually
async def test_run_of_frames_is_one_write() -> None:
    connection = await Connection().open()
    writes = connection.transport.writes
    await connection.wire.send_frames([TOKEN] * 100)
    assert connection.transport.writes == writes + 1
    assert len(connection.frames()) == 100
    await lose(connection)


@virtually
async def test_what_the_kernel_does_not_take_waits_in_a_bounded_queue_and_then_the_producer_waits() -> None:
    connection = await Connection(LIMITS, room_bytes=1_000).open()
    sending = asyncio.create_task(connection.wire.send_frames([TOKEN] * 1_000))
    await settle()
    assert not sending.done()
    outbox = connection.protocol._outbox
    assert outbox.waiting == 300
    # 128 frames at once at most lie where they cannot be taken back.
    assert len(connection.transport.kept) <= 128 * len(TOKEN)
    while not sending.done():
        connection.transport.make_room(5_000)
        await settle()
        assert outbox.waiting <= 300
    connection.transport.make_room(10**6)
    assert connection.frames() == [(TEXT, b"x" * 98)] * 1_000
    await lose(connection)


@pytest.mark.parametrize(("count", "reason"), [(200, "send_timeout"), (1_000, "buffer_full")])
def test_client_that_takes_nothing_is_closed_past_what_waits(count: int, reason: str) -> None:
    async def test() -> None:
        connection = await Connection(LIMITS, room_bytes=500).open()
        sending = asyncio.create_task(connection.wire.send_frames([TOKEN] * count))
        began_s = read_clock()
        while not connection.listener.told:
            await asyncio.sleep(0.1)
        assert read_clock() - began_s == pytest.approx(5.0, abs=0.11)
        assert connection.listener.told == [reason, "end"]
        await settle()
        if reason == "buffer_full":
            with pytest.raises(ClientGoneError):
                await sending
        await sending if not sending.done() else None
        # It begins to read within the grace: what had been handed over, then the code, nothing of the rest.
        connection.transport.make_room(10**6)
        frames = connection.frames()
        assert frames[-1] == CLOSE_TOO_SLOW
        assert len(frames) <= 129
        assert connection.events[-1] == {"type": "websocket.disconnect", "code": 1008}
        assert "aborted" not in connection.transport.state
        await asyncio.sleep(CLOSE_GRACE_S + 0.1)
        assert "aborted" in connection.transport.state
        await lose(connection)

    run_virtually(test())


@virtually
async def test_client_that_takes_some_in_time_is_not_too_slow() -> None:
    connection = await Connection(LIMITS, room_bytes=0).open()
    connection.transport.make_room(10_000)
    await settle()
    sending = asyncio.create_task(connection.wire.send_frames([TOKEN] * 1_000))
    while not sending.done():
        await asyncio.sleep(4.9)
        connection.transport.make_room(128 * len(TOKEN))
        await settle()
    assert connection.listener.told == []
    await lose(connection)


@virtually
async def test_pings_of_a_client_that_does_not_read_are_answered_once() -> None:
    connection = await Connection(LIMITS, room_bytes=500).open()
    connection.transport.make_room(-connection.transport.room_bytes)
    await connection.wire.send_frames([TOKEN])
    kept = len(connection.transport.kept)
    for number in range(1_000):
        connection.receive(PING, b"%d" % number)
    assert len(connection.transport.kept) == kept
    connection.transport.make_room(10**6)
    assert connection.frames() == [(TEXT, b"x" * 98), (PONG, b"999")]
    await lose(connection)


@virtually
async def test_silent_client_is_given_up_after_two_intervals_and_one_that_answers_is_not() -> None:
    silent, alive = await Connection().open(), await Connection().open()
    end_s = read_clock() + 200
    gone_s = None
    while read_clock() < end_s:
        await asyncio.sleep(0.5)
        if (PING, b"") in alive.frames():
            alive.receive(PONG, b"")
        if gone_s is None and "aborted" in silent.transport.state:
            gone_s = read_clock()
    assert gone_s is not None
    assert 20 < gone_s <= 40.5
    assert "closed" not in alive.transport.state
    await lose(silent)
    await lose(alive)


@virtually
async def test_client_made_to_wait_is_not_taken_for_silent() -> None:
    connection = await Connection().open()
    connection.is_taking.clear()
    connection.receive(TEXT, b"one")
    await settle()
    connection.receive(TEXT, b"two")
    assert "paused" in connection.transport.state
    await asyncio.sleep(100)
    assert "closed" not in connection.transport.state
    connection.is_taking.set()
    await settle()
    await asyncio.sleep(45)
    assert "aborted" in connection.transport.state, "it reads again, and nothing comes"
    await lose(connection)


@virtually
async def test_close_of_the_client_is_answered_and_ends_the_connection() -> None:
    connection = await Connection().open()
    connection.receive(CLOSE, b"\x03\xe8bye")
    await settle()
    assert connection.frames() == [(CLOSE, b"\x03\xe8bye")]
    assert "closed" in connection.transport.state
    assert connection.events[-1] == {"type": "websocket.disconnect", "code": 1000}
    assert connection.listener.told == ["end"]
    with pytest.raises(ClientGoneError):
        await connection.wire.send_frames([TOKEN])
    await lose(connection)


@virtually
async def test_our_close_waits_for_the_answer_then_ends() -> None:
    connection = await Connection().open()
    connection.wire.close(1001, "idle")
    assert connection.frames() == [(CLOSE, b"\x03\xe9idle")]
    assert "closed" not in connection.transport.state
    # What was under way is passed over, the answer is not.
    for _ in range(100):
        connection.receive(TEXT, b"late")
    assert len(connection.protocol._inbox._messages) == 1
    connection.receive(CLOSE, b"\x03\xe9")
    assert "closed" in connection.transport.state
    assert "aborted" not in connection.transport.state
    await lose(connection)
    assert [event["type"] for event in connection.events] == ["websocket.connect", "websocket.disconnect"]


@virtually
async def test_malformed_frame_is_answered_then_input_is_thrown_away_until_the_grace_ends() -> None:
    connection = await Connection().open()
    connection.receive(TEXT, b"{}", is_masked=False)
    assert connection.frames()[0][1][:2] == b"\x03\xea"
    assert "half-closed" in connection.transport.state
    connection.receive(BINARY, b"x" * 100_000)
    await asyncio.sleep(CLOSE_GRACE_S + 0.1)
    assert "aborted" in connection.transport.state
    await lose(connection)


@virtually
async def test_worker_that_ends_leaves_closing_to_the_endpoint() -> None:
    connection = await Connection().open()
    connection.protocol.shutdown()
    assert connection.listener.told == ["drain"]
    assert connection.frames() == []
    await lose(connection)
