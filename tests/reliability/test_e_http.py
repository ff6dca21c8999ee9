"""Group E, the bytes: heads, bodies and their ends, sent to a real mock over raw sockets."""

import random
import ssl
import threading
import time
from collections import Counter
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.integration.mock.conftest import Mock, StartMock, wait_until
from tests.reliability.conftest import Measure
from tests.reliability.raw_http import RawAnswer, RawClient, build_request, exchange, read_bytes_of

LIMIT_BYTES = 1_048_576
PAST_BYTES = 65_536
CHAT = b'{"session_id":"a","message":"b"}'
HEAD = b"POST /chat HTTP/1.1\r\nHost: mock\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def assert_alive(mock: Mock) -> None:
    assert exchange(mock.port, build_request("POST", "/chat", CHAT)).status == 200
    assert "Traceback" not in mock.log.read_text()


def send_endless(port: int, head: bytes, piece: bytes, most_bytes: int) -> tuple[RawAnswer, int]:
    """Sends until the server has had enough; returns its answer and how much was sent."""
    with RawClient(port) as client:
        client.send(head)
        sent = 0
        with suppress(ConnectionError):
            while sent < most_bytes:
                client.send(piece)
                sent += len(piece)
        return client.read_answer(), sent


def test_e02_body_over_one_mebibyte(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    (worker,) = mock.worker_pids()
    past = {}
    large = 32 * LIMIT_BYTES
    piece = b"x" * 65_536
    ways = {
        "announced": (HEAD + b"Content-Length: %d\r\n\r\n" % large, piece),
        "chunked": (CHUNKED, b"10000\r\n" + piece + b"\r\n"),
    }
    for name, (head, sent) in ways.items():
        before = read_bytes_of(worker)
        answer, _ = send_endless(mock.port, head, sent, large)
        answer.assert_refusal(413)
        assert answer.json()["code"] == "E006"
        time.sleep(0.5)  # Longer than a closing connection lingers: all that is ever read has been.
        past[name] = read_bytes_of(worker) - before - LIMIT_BYTES
    small = exchange(mock.port, HEAD + b"Content-Length: 1048577\r\n\r\n" + b"x" * 1_048_577)
    assert small.status == 413
    assert exchange(mock.port, build_request("POST", "/chat", b" " * (LIMIT_BYTES - len(CHAT)) + CHAT)).status == 200
    measure(
        "413, <= 64 KB read past the limit, with and without Content-Length",
        f"413; past the limit: {past['chunked']} bytes chunked, {max(0, past['announced'])} announced",
    )
    assert max(past.values()) <= PAST_BYTES
    assert_alive(mock)


def test_e03_header_over_16_kb(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    (worker,) = mock.worker_pids()
    fits = exchange(mock.port, b"GET /health HTTP/1.1\r\nX-Fill: " + b"a" * 16_000 + b"\r\n\r\n")
    assert fits.status == 200
    before = read_bytes_of(worker)
    answer, sent = send_endless(mock.port, b"GET /health HTTP/1.1\r\nX-Fill: ", b"a" * 8_192, 1_000_000)
    answer.assert_refusal(431)
    read = read_bytes_of(worker) - before
    whole = exchange(mock.port, b"GET /health HTTP/1.1\r\nX-Fill: " + b"a" * 1_000_000 + b"\r\n\r\n")
    whole.assert_refusal(431)
    measure("431, stock accepts 1 MB", f"431 after {read} bytes read of {sent} sent; 16,000 bytes are served")
    assert_alive(mock)


def test_e04_more_than_100_headers(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    statuses = {}
    for count in (100, 101, 20_000):
        head = b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * count + b"\r\n"
        answer = exchange(mock.port, head)
        statuses[count] = answer.status
        if count > 100:
            answer.assert_refusal(431)
    measure("431 over 100, stock accepts 20,000", f"by number of headers: {statuses}")
    assert statuses == {100: 200, 101: 431, 20_000: 431}
    assert_alive(mock)


def time_to_close(port: int, start: bytes, deadline_s: float, connections: int = 5) -> tuple[float, list[RawAnswer]]:
    """Sends a byte a second after `start` on some connections; returns when the last was closed, and the answers."""
    answers: list[RawAnswer] = []
    closed_s: list[float] = []

    def trickle() -> None:
        with RawClient(port, timeout_s=deadline_s) as client:
            client.send(start)
            started_s = time.monotonic()
            sender = threading.Thread(target=keep_sending, args=(client,), daemon=True)
            sender.start()
            answers.extend(client.read_answers())
            closed_s.append(time.monotonic() - started_s)
            sender.join()

    def keep_sending(client: RawClient) -> None:
        with suppress(OSError):
            while True:
                client.send(b"a")
                time.sleep(1)

    threads = [threading.Thread(target=trickle) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(deadline_s + 10)
    assert len(closed_s) == connections
    return max(closed_s), answers


@pytest.mark.slow
def test_e05_head_at_one_byte_a_second(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    with RawClient(mock.port, timeout_s=40) as silent:
        took_s, answers = time_to_close(mock.port, b"GET /health HTTP/1.1\r\nX-Slow: ", 25)
        for answer in answers:
            answer.assert_refusal(408)
        assert mock.sample("consoul_request_total", endpoint="unmatched", method="GET", status="408") == 5
        assert not silent.is_closed_within(0.1)
    measure(
        "closed <= 10 s, stock: open at 25 s", f"5 of {len(answers)} answered 408 and closed after {took_s:.1f} s"
    )
    assert len(answers) == 5
    assert 8.0 < took_s <= 10.0
    assert_alive(mock)


@pytest.mark.slow
def test_e06_body_at_one_byte_a_second(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    took_s, answers = time_to_close(mock.port, HEAD + b"Content-Length: 1000\r\n\r\n", 45)
    for answer in answers:
        answer.assert_refusal(408)
    assert mock.sample("consoul_request_total", endpoint="/chat", method="POST", status="408") == 5
    measure("closed <= 30 s", f"{len(answers)} of 5 answered 408, closed after {took_s:.1f} s")
    assert len(answers) == 5
    assert 25.0 < took_s <= 30.0
    assert_alive(mock)


@pytest.mark.slow
def test_a_connection_that_sends_nothing_is_closed_in_silence(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_TIMEOUT_KEEP_ALIVE="2")
    with RawClient(mock.port) as silent, RawClient(mock.port) as idle:
        idle.send(build_request("GET", "/health"))
        assert idle.read_answer().status == 200
        assert silent.read_answers() == []
        assert idle.is_closed_within(3)


FRAMINGS = [
    b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    b"Content-Length: 4\r\nContent-Length: 4\r\n",
    b"Content-Length: 4, 4\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 4\r\nTransfer-Encoding : chunked\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
]


def test_e07_content_length_and_transfer_encoding(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    smuggled = b"0\r\n\r\n" + build_request("POST", "/chat", CHAT)
    statuses = []
    for lengths in FRAMINGS:
        with RawClient(mock.port) as client:
            client.send(HEAD + lengths + b"\r\n" + smuggled)
            answers = client.read_answers()
        answers[0].assert_refusal(400)
        statuses.append([answer.status for answer in answers])
    served = mock.sample("consoul_request_total", endpoint="/chat", method="POST", status="200")
    measure(
        "400", f"{statuses.count([400])} of {len(FRAMINGS)} are 400; requests served from behind them: {served:.0f}"
    )
    assert statuses == [[400]] * len(FRAMINGS)
    assert served == 0
    assert_alive(mock)


def test_e08_tls_and_garbage_bytes(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with RawClient(mock.port) as client, pytest.raises((ssl.SSLError, ConnectionError)):
        context.wrap_socket(client.sock)
    rng = random.Random(8)
    garbage = [b"\x16\x03\x01\x02\x00\x01\x00", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"SSH-2.0-x\r\n", b"\0" * 64]
    # Bytes a request line could begin with are left out: those may wait for their rest.
    garbage += [bytes([rng.randrange(128, 256)]) + rng.randbytes(rng.randrange(1, 300)) for _ in range(1_000)]
    statuses: Counter[int] = Counter()
    for data in garbage:
        answer = exchange(mock.port, data)
        answer.assert_refusal(400)
        statuses[answer.status] += 1
    log = mock.log.read_text()
    measure(
        "400, no traceback", f"{statuses[400]} of {len(garbage)} answered 400, {log.count('Traceback')} tracebacks"
    )
    assert log.count("\n") <= 2
    assert mock.sample("consoul_request_total", endpoint="unmatched", method="OTHER", status="400") >= 1_000
    assert_alive(mock)


def test_e14_url_of_64_kb(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    long_path, long_query = b"/" + b"a" * 65_536, b"/health?" + b"a" * 65_536
    answers = [exchange(mock.port, b"GET " + target + b" HTTP/1.1\r\n\r\n") for target in (long_path, long_query)]
    for answer in answers:
        answer.assert_refusal(414)
    measure("414/400", "414 E010 for path and for query")
    assert exchange(mock.port, b"GET /health?" + b"a" * 8_000 + b" HTTP/1.1\r\n\r\n").status == 200
    assert_alive(mock)


def test_what_well_behaved_clients_do_works(start_mock: StartMock) -> None:
    mock = start_mock()
    with RawClient(mock.port) as client:
        client.send(HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(CHAT))
        assert client.read_answer().status == 100
        client.send(CHAT)
        assert client.read_answer().status == 200
    with RawClient(mock.port) as client:
        client.send(b"".join(build_request("GET", "/health", b"", [f"X-Request-ID: r{at}"]) for at in range(20)))
        assert [client.read_answer().header("x-request-id") for _ in range(20)] == [f"r{at}" for at in range(20)]
    with RawClient(mock.port) as client:
        client.send(b"GET /health HTTP/1.0\r\n\r\n")
        assert [answer.status for answer in client.read_answers()] == [200]
    with RawClient(mock.port) as client:
        client.send(build_request("HEAD", "/health") + build_request("OPTIONS", "/chat"))
        refused = [client.read_answer(has_body=False), client.read_answer()]
        assert [(answer.status, answer.header("allow")) for answer in refused] == [(405, "GET"), (405, "POST")]


def test_refused_connections_leave_nothing_behind(start_mock: StartMock) -> None:
    mock = start_mock()
    (worker,) = mock.worker_pids()

    def open_files() -> int:
        return len(list(Path(f"/proc/{worker}/fd").iterdir()))

    assert_alive(mock)
    before = open_files()
    with ExitStack() as stack:
        for _ in range(50):
            client = stack.enter_context(RawClient(mock.port))
            with suppress(ConnectionError):
                client.send(CHUNKED + b"zz\r\n" + b"x" * 200_000)
        wait_until(lambda: open_files() <= before, "the sockets of refused connections are closed", 5)
