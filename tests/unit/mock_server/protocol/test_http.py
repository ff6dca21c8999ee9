"""The protocol over a transport without a socket: limits, deadlines, order, and how connections end."""

import json

import pytest

from mock_server.protocol.http import sweep
from mock_server.protocol.limits import HttpLimits
from tests.unit.mock_server.protocol.conftest import Connect, Connection

BODY = b'{"session_id":"a","message":"b"}'
HEALTH = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
CHUNKED = b"POST /chat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
SHAPE = {"code", "error", "message", "recoverable", "retry_after", "details", "timestamp"}


def post(body: bytes = BODY, *headers: bytes) -> bytes:
    lines = [b"POST /chat HTTP/1.1", b"Host: a", *headers, b"Content-Length: %d" % len(body)]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunk(data: bytes) -> bytes:
    return b"%x\r\n" % len(data) + data + b"\r\n"


def last_body(connection: Connection) -> dict[str, object]:
    found: dict[str, object] = json.loads(connection.transport.written.rpartition(b"\r\n\r\n")[2])
    return found


def assert_refused(connection: Connection, status: int, code: str) -> None:
    """The one shape, an id, and a connection that ends with the answer and not with a reset."""
    assert connection.statuses()[-1] == status
    body = last_body(connection)
    assert set(body) == SHAPE
    assert body["code"] == code
    head = connection.transport.written.rpartition(b"\r\n\r\n")[0].rpartition(b"HTTP/1.1")[2].lower()
    assert b"x-request-id: " in head
    assert b"connection: close" in head
    assert connection.transport.events == ["eof"]


@pytest.mark.parametrize(
    ("pieces", "status", "code", "method"),
    [
        ([b"\x16\x03\x01\x02\x00\x01\x00"], 400, "E007", "OTHER"),
        ([b"GET /health HTTP/9.1\r\n\r\n"], 400, "E007", "GET"),
        ([b"GET / HTTP/1.1\r\nX: " + b"a" * 17_000 + b"\r\n\r\n"], 431, "E009", "GET"),
        ([b"GET / HTTP/1.1\r\nX: " + b"a" * 9_000, b"a" * 9_000], 431, "E009", "GET"),
        ([b"GET / HTTP/1.1\r\n" + b"X: a\r\n" * 101 + b"\r\n"], 431, "E009", "GET"),
        ([b"GET /" + b"a" * 65_536 + b" HTTP/1.1\r\n\r\n"], 414, "E010", "GET"),
        ([b"POST /chat HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na"], 400, "E007", "POST"),
        ([b"POST /chat HTTP/1.1\r\nContent-Length: -1\r\n\r\n"], 400, "E007", "POST"),
        ([CHUNKED.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\n")], 400, "E007", "POST"),
    ],
)
async def test_e_what_is_no_request_is_answered_and_counted(
    connect: Connect, pieces: list[bytes], status: int, code: str, method: str
) -> None:
    connection = connect()
    await connection.send(*pieces)
    assert_refused(connection, status, code)
    assert connection.counted("unmatched", method, status) == 1


async def test_heads_up_to_the_limits_are_served(connect: Connect) -> None:
    connection = connect()
    await connection.send(HEALTH[:-2] + b"X: a\r\n" * 99 + b"\r\n")
    await connection.send(HEALTH[:-2] + b"X: " + b"a" * 8_000, b"a" * 8_000 + b"\r\n\r\n")
    await connection.send(*(HEALTH[at : at + 1] for at in range(len(HEALTH))))
    assert connection.statuses() == [200, 200, 200]
    assert connection.transport.events == []


async def test_a_long_pipeline_is_no_large_head(connect: Connect) -> None:
    connection = connect()
    await connection.send(HEALTH * 1_000 + HEALTH[:20], HEALTH[20:])
    assert connection.statuses() == [200] * 1_001


async def test_pipelined_requests_are_answered_in_order_and_garbage_after_them(connect: Connect) -> None:
    connection = connect()
    await connection.send(post() + HEALTH + post(b"{") + b"\x16\x03\x01\x02")
    assert connection.statuses() == [200, 200, 400, 400]
    assert last_body(connection)["code"] == "E007"
    assert connection.transport.events == ["eof"]


async def test_the_clients_own_id_is_kept_where_it_came_in(connect: Connect) -> None:
    connection = connect()
    await connection.send(b"GET / HTTP/1.1\r\nX-Request-ID: mine\r\nY: 1\r\nZ: " + b"a" * 20_000)
    assert b"x-request-id: mine\r\n" in connection.transport.written


async def test_an_unknown_method_is_405_with_allow_and_404_elsewhere(connect: Connect) -> None:
    known, unknown = connect(), connect()
    await known.send(b"BREW /chat?a=b HTTP/1.1\r\nHost: a\r\n\r\n")
    assert_refused(known, 405, "E005")
    assert b"allow: POST\r\n" in known.transport.written
    await unknown.send(b"BREW /nope HTTP/1.1\r\nHost: a\r\n\r\n")
    assert_refused(unknown, 404, "E004")


@pytest.mark.parametrize("path", [b"/chat", b"/nope"])
async def test_an_endless_body_is_cut_soon_after_the_limit(connect: Connect, path: bytes) -> None:
    connection = connect(HttpLimits(body_bytes=40_000), CONSOUL_MAX_BODY_SIZE="40000")
    await connection.send(CHUNKED.replace(b"/chat", path), chunk(b"a" * 16_000), chunk(b"a" * 16_000))
    assert connection.transport.events == []
    await connection.send(chunk(b"a" * 8_001))
    assert connection.statuses() == [413 if path == b"/chat" else 404]
    assert connection.transport.events == ["eof"]
    assert connection.counted("/chat", "POST", 413) == (path == b"/chat")


async def test_a_body_that_is_all_framing_is_cut_too(connect: Connect) -> None:
    connection = connect(HttpLimits(body_bytes=2_000))
    await connection.send(CHUNKED, *[b"1;" + b"x" * 8_000 + b"\r\na\r\n"] * 3)
    assert_refused(connection, 413, "E006")


async def test_chunked_bodies_within_the_limit_are_served_and_the_connection_goes_on(connect: Connect) -> None:
    connection = connect()
    await connection.send(CHUNKED, chunk(BODY[:10]), chunk(BODY[10:]), b"0\r\nX-API-Key: trailer\r\n\r\n", post())
    await connection.send(CHUNKED + chunk(BODY) + b"0\r\n\r\n")
    assert connection.statuses() == [200, 200, 200]
    assert connection.transport.protocol is connection.protocol


async def test_a_broken_chunk_is_answered_by_the_request_it_belongs_to(connect: Connect) -> None:
    connection = connect()
    await connection.send(CHUNKED.replace(b"Host", b"X-Request-ID: mine\r\nHost"), b"zz\r\n")
    assert_refused(connection, 400, "E007")
    assert b"x-request-id: mine\r\n" in connection.transport.written
    assert connection.counted("/chat", "POST", 400) == 1


async def test_an_announced_body_that_is_too_large_is_refused_unread_and_without_a_reset(connect: Connect) -> None:
    connection = connect()
    await connection.send(b"POST /chat HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n")
    assert_refused(connection, 413, "E006")
    assert b"100 Continue" not in connection.transport.written


async def test_expect_continue_is_answered_before_the_body(connect: Connect) -> None:
    connection = connect()
    whole = post(BODY, b"Expect: 100-continue")
    await connection.send(whole[: -len(BODY)])
    assert connection.transport.written == b"HTTP/1.1 100 Continue\r\n\r\n"
    await connection.send(BODY)
    assert connection.statuses() == [100, 200]


async def test_what_comes_after_a_refusal_is_thrown_away_and_bounded(connect: Connect) -> None:
    connection = connect()
    await connection.send(b"\x16\x03\x01", HEALTH, b"x" * 30_000)
    assert connection.statuses() == [400]
    assert connection.transport.is_reading()
    await connection.send(b"x" * (32_768 - len(HEALTH) - 30_000))
    assert not connection.transport.is_reading()


async def test_a_client_that_closed_its_side_still_gets_the_refusal(connect: Connect) -> None:
    connection = connect()
    connection.transport.protocol.data_received(b"\x16\x03\x01")
    assert connection.transport.protocol.eof_received() is True
    await connection.settle()
    assert connection.statuses() == [400]
    assert connection.transport.events == ["close"]


@pytest.mark.parametrize("first", [b"GET /health HTTP/1.1\r\nA", HEALTH + b"GET /"])
async def test_a_head_that_does_not_end_is_408(connect: Connect, first: bytes) -> None:
    connection = connect()
    await connection.send(first)
    before = connection.statuses()
    for now_s in (100.0, 104.0, 108.4):
        sweep([connection.protocol], now_s)
        await connection.send(b"x" if now_s < 105 else b"")
    assert connection.statuses() == before
    sweep([connection.protocol], 108.5)
    await connection.settle()
    assert_refused(connection, 408, "E008")


async def test_a_body_that_does_not_end_is_408_of_its_route(connect: Connect) -> None:
    connection = connect()
    await connection.send(post()[:-5])
    sweep([connection.protocol], 100.0)
    await connection.send(b"x")
    sweep([connection.protocol], 128.4)
    await connection.settle()
    assert connection.statuses() == []
    sweep([connection.protocol], 128.5)
    await connection.settle()
    assert_refused(connection, 408, "E008")
    assert connection.counted("/chat", "POST", 408) == 1


async def test_each_request_has_deadlines_of_its_own(connect: Connect) -> None:
    connection = connect()
    for now_s in (100.0, 107.0, 114.0):
        await connection.send(HEALTH[:-5])
        sweep([connection.protocol], now_s)
        await connection.send(HEALTH[-5:])
    assert connection.statuses() == [200] * 3


@pytest.mark.parametrize("sent", [b"", HEALTH])
async def test_idle_connections_close_in_silence(connect: Connect, sent: bytes) -> None:
    connection = connect()
    await connection.send(sent)
    written = connection.transport.written
    sweep([connection.protocol], 100.0)
    sweep([connection.protocol], 129.9)
    assert connection.transport.events == []
    sweep([connection.protocol], 130.0)
    assert connection.transport.events == ["close"]
    assert connection.transport.written == written


async def test_an_idle_connection_that_never_read_its_answer_is_cut(connect: Connect) -> None:
    connection = connect()
    await connection.send(HEALTH)
    connection.transport.unsent_bytes = 100
    sweep([connection.protocol], 100.0)
    sweep([connection.protocol], 130.0)
    assert connection.transport.events == ["abort"]


async def test_a_trailer_is_no_header(connect: Connect) -> None:
    connection = connect(CONSOUL_API_KEYS="right")
    await connection.send(CHUNKED + chunk(BODY) + b"0\r\nX-API-Key: right\r\n\r\n")
    assert connection.statuses() == [401]
