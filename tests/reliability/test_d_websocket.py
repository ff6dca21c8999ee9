"""Group D: what clients do to WebSockets, by design or by misfortune. Each row runs against a real mock process.

Send time-outs are shortened from 5 s to 1 s but with LONG=1; the grace after a close frame is the real one.
"""

import os
import select
import socket
import statistics
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
import websocket

from mock_server.protocol.websocket import CLOSE_GRACE_S
from tests.integration.mock.conftest import Mock, StartMock, wait_until
from tests.reliability.raw_websocket import CLOSE, TEXT, Frame, RawWebSocket, build_frame

Measure = Callable[[str, str], None]
LONG = os.environ.get("LONG") == "1"
SEND_TIMEOUT_S = 5.0 if LONG else 1.0
SHORTENED = "" if LONG else f" (send time-out {SEND_TIMEOUT_S:g} s)"
MIB = 2**20
# One answer of 4,096 tokens without a pause: some 190 KB, more than kernel and transport hold.
FLOOD = {
    "MOCK_PROVIDER_PROFILE": "custom",
    "MOCK_PROVIDER_CUSTOM": '{"total_s": [0, 0], "first_token_share": 0, "tokens": [4096, 4096]}',
    "CONSOUL_WS_SEND_TIMEOUT": str(SEND_TIMEOUT_S),
}
TINY_BUFFER_BYTES = 4096


def paced(tokens: int, total_s: float) -> dict[str, str]:
    share = 1 / tokens
    custom = f'{{"total_s": [{total_s}, {total_s}], "first_token_share": {share}, "tokens": [{tokens}, {tokens}]}}'
    return {"MOCK_PROVIDER_PROFILE": "custom", "MOCK_PROVIDER_CUSTOM": custom}


def worker_pid(mock: Mock) -> int:
    (pid,) = mock.worker_pids()
    return pid


def rss_bytes(mock: Mock) -> int:
    pages = int(Path(f"/proc/{worker_pid(mock)}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def count_files(mock: Mock) -> int:
    return len(list(Path(f"/proc/{worker_pid(mock)}/fd").iterdir()))


def find_socket(mock: Mock, client_port: int) -> str:
    """Returns who still has the server's end of a connection: `file`, only the `kernel`, or nobody."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{mock.port:04X}") and fields[2].endswith(f":{client_port:04X}"):
            return "kernel" if fields[9] == "0" else "file"
    return ""


def slow_disconnects(mock: Mock) -> float:
    name = "consoul_slow_client_disconnects_total"
    return sum(mock.sample(name, reason=reason) for reason in ("send_timeout", "buffer_full"))


def read_end(ws: RawWebSocket) -> tuple[int, Frame]:
    count, frame = ws.read_until_close()
    assert frame is not None, "the stream ended without a close frame"
    return count, frame


@pytest.mark.slow
def test_d01_slow_reader_is_told_1008(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock(**FLOOD)
    with RawWebSocket(mock.port, receive_buffer_bytes=TINY_BUFFER_BYTES) as slow:
        slow.send("much")
        asked_s = time.monotonic()
        slow.read_slowly(500, asked_s + SEND_TIMEOUT_S + 0.2)
        count, frame = read_end(slow)
        took_s = time.monotonic() - asked_s
    measure(
        f"1008 within send time-out + 1 s{SHORTENED}",
        f"{frame.close_code} {frame.close_reason!r} after {took_s:.2f} s, behind {count} tokens",
    )
    assert (frame.close_code, frame.close_reason) == (1008, "Client too slow")
    assert took_s <= SEND_TIMEOUT_S + 1
    # What was pending is dropped: a close frame behind all of it would follow 1,000 tokens more.
    assert count < 1000
    assert slow_disconnects(mock) == 1


@pytest.mark.slow
def test_d02_never_reader_loses_its_socket(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock(**FLOOD)
    with RawWebSocket(mock.port, receive_buffer_bytes=TINY_BUFFER_BYTES) as never:
        never.send("much")
        asked_s = time.monotonic()
        assert find_socket(mock, never.local_port) == "file"
        wait_until(lambda: not find_socket(mock, never.local_port), "gone from the kernel, too")
        took_s = time.monotonic() - asked_s
    measure(f"freed within 10 s{SHORTENED}", f"file and the kernel's buffers after {took_s:.1f} s")
    assert took_s <= SEND_TIMEOUT_S + CLOSE_GRACE_S + 1
    wait_until(lambda: mock.sample("consoul_websocket_connections") == 0, "gauge back")


@pytest.mark.slow
def test_d03_slow_clients_cost_little_memory(start_mock: StartMock, measure: Measure) -> None:
    clients = 50
    mock = start_mock(**{**FLOOD, "CONSOUL_WS_SEND_TIMEOUT": "60"})
    with RawWebSocket(mock.port) as warm:
        for _ in range(5):
            warm.send("much")
            assert len(warm.read_answer()[0]) == 4096
    before_bytes = rss_bytes(mock)
    with ExitStack() as stack:
        for number in range(clients):
            path = f"/ws/chat/slow-{number}"
            slow = stack.enter_context(RawWebSocket(mock.port, path, receive_buffer_bytes=TINY_BUFFER_BYTES))
            slow.send("much")
        wait_until(lambda: mock.sample("consoul_requests_in_flight") == clients, "all answers held up")
        growth_bytes = (rss_bytes(mock) - before_bytes) / clients
    measure("RSS +<= 1 MB for each slow client", f"+{growth_bytes / 1000:.0f} KB each, {clients} of them")
    assert growth_bytes <= 1_000_000


@pytest.mark.slow
def test_d04_slow_clients_do_not_slow_others(start_mock: StartMock, measure: Measure) -> None:
    clients, seconds = 100, 3.0
    mock = start_mock(
        **paced(1000, 20.0), CONSOUL_WS_SEND_TIMEOUT="60", HTTPX_MAX_CONNECTIONS="1000", CONSOUL_BACKLOG="4096"
    )
    ratios, texts = [], []
    # On a machine with other work one disturbance decides over a p99: the best of five rounds is the mock's own.
    for turn in range(5):
        with ExitStack() as stack:
            fast = open_many(stack, mock, f"fast-{turn}", clients)
            baseline_s = p99_gap_s(fast, seconds)
            for slow in open_many(stack, mock, f"slow-{turn}", clients, TINY_BUFFER_BYTES, bad_messages=300):
                assert select.select([slow.sock], [], [], 10)[0], "the slow one got something"
            loaded_s = p99_gap_s(fast, seconds)
        ratios.append(loaded_s / baseline_s)
        texts.append(f"{loaded_s * 1000:.1f}/{baseline_s * 1000:.1f} ms")
        if ratios[-1] <= 1.2:
            break
    measure(
        "fast clients' p99 gap <= 1.2 x baseline (100 slow, 100 fast; best of five)",
        f"{min(ratios):.2f} x ({', '.join(texts)})",
    )
    assert min(ratios) <= 1.2


def open_many(
    stack: ExitStack, mock: Mock, name: str, count: int, buffer_bytes: int | None = None, bad_messages: int = 0
) -> list[RawWebSocket]:
    """Opens connections that each asked for an answer; error messages fill the buffers of those that never read."""
    found = []
    for number in range(count):
        ws = stack.enter_context(
            RawWebSocket(mock.port, f"/ws/chat/{name}-{number}", receive_buffer_bytes=buffer_bytes)
        )
        if bad_messages:
            ws.sock.sendall(build_frame(TEXT, b"{}") * bad_messages)
        ws.send("go")
        found.append(ws)
    return found


def p99_gap_s(clients: list[RawWebSocket], seconds: float) -> float:
    """Returns the 99th percentile of the time between two arrivals on the same connection."""
    poll = select.poll()
    last_s: dict[int, float] = {}
    by_fileno = {ws.sock.fileno(): ws.sock for ws in clients}
    for fileno in by_fileno:
        poll.register(fileno, select.POLLIN)
    gaps = []
    end_s = time.monotonic() + seconds
    while (now_s := time.monotonic()) < end_s:
        for fileno, _ in poll.poll(100):
            assert by_fileno[fileno].recv(65_536)
            now_s = time.monotonic()
            if fileno in last_s:
                gaps.append(now_s - last_s[fileno])
            last_s[fileno] = now_s
    assert len(gaps) > 10 * len(clients)
    return statistics.quantiles(gaps, n=100)[98]


def test_d05_message_over_the_limit_is_1009(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    codes = []
    with RawWebSocket(mock.port) as whole:
        whole.send_frame(TEXT, b"x" * 262_145)
        codes.append(read_end(whole)[1].close_code)
    with RawWebSocket(mock.port) as pieces:
        pieces.send_frame(TEXT, b"x" * 200_000, first=0x01)
        pieces.send_frame(0, b"x" * 62_145, first=0x80)
        codes.append(read_end(pieces)[1].close_code)
    with RawWebSocket(mock.port) as announced:
        # A client that goes on sending after it was refused sees the code all the same.
        announced.sock.sendall(struct.pack("!BBQ", 0x81, 0x80 | 127, 2**40) + bytes(4) + b"x" * 500_000)
        codes.append(read_end(announced)[1].close_code)
    with RawWebSocket(mock.port) as largest:
        largest.send_frame(TEXT, b"x" * 262_144)
        answer = largest.read_message()["data"]["code"]
    measure("1009 over 256 KiB", f"{codes} whole, in pieces, announced; at 256 KiB {answer}")
    assert codes == [1009, 1009, 1009]
    assert answer == "E002"


def test_d06_invalid_utf8_is_1007(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    texts = {"bad byte": [b"\xff"], "surrogate": [b"\xed\xa0\x80"], "cut short": [b"\xc3"], "overlong": [b"\xc0\xaf"]}
    found = {}
    for name, (text,) in texts.items():
        with RawWebSocket(mock.port) as ws:
            ws.send_frame(TEXT, b'{"type":"message","content":"' + text + b'"}')
            count, frame = read_end(ws)
            found[name] = (count, frame.close_code)
    with RawWebSocket(mock.port) as split:
        # Not valid in either frame alone, valid as a whole.
        split.send_frame(TEXT, b'{"type":"message","content":"\xc3', first=0x01)
        split.send_frame(0, b'\xa9"}', first=0x80)
        assert split.read_answer()[1]["type"] == "done"
    measure("1007", ", ".join(f"{name} {code}" for name, (_, code) in found.items()))
    assert set(found.values()) == {(0, 1007)}


def test_d07_malformed_frames_are_1002(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    frames = {
        "unmasked": build_frame(TEXT, b"{}", is_masked=False),
        "reserved bit": build_frame(TEXT, b"{}", first=0xC1),
        "unknown opcode": build_frame(TEXT, b"{}", first=0x83),
        "continues nothing": build_frame(0, b"{}", first=0x80),
        "ping in pieces": build_frame(0x9, b"", first=0x09),
        "long ping": build_frame(0x9, b"x" * 126),
        "close code 1005": build_frame(CLOSE, struct.pack("!H", 1005)),
    }
    found = {}
    for name, frame in frames.items():
        with RawWebSocket(mock.port) as ws:
            ws.sock.sendall(frame)
            count, end = read_end(ws)
            found[name] = (count, end.close_code)
            assert ws.read_frame() is None, "nothing follows a close frame"
    measure("1002", f"{sum(code == 1002 for _, code in found.values())} of {len(frames)} kinds")
    assert set(found.values()) == {(0, 1002)}, found
    assert "Traceback" not in mock.log.read_text()


def test_d08_compression_bomb_is_not_unpacked(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    with RawWebSocket(mock.port) as warm:
        warm.send_frame(TEXT, b"x" * 262_144)
        warm.read_message()
    before_bytes = rss_bytes(mock)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = packer.compress(bytes(100 * MIB)) + packer.flush(zlib.Z_SYNC_FLUSH)
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"
    with RawWebSocket(mock.port, headers=(offer,)) as ws:
        is_offered = b"permessage-deflate" in ws.answer
        ws.sock.sendall(build_frame(TEXT, bomb, first=0xC1))
        _, frame = read_end(ws)
    growth_bytes = rss_bytes(mock) - before_bytes
    measure(
        "deflate off, or 1009 and RSS +<= 2 MB",
        f"deflate off; {len(bomb) / 1000:.0f} KB for 100 MiB: {frame.close_code}, RSS +{growth_bytes / 1e6:.1f} MB",
    )
    assert not is_offered
    assert frame.close_code == 1002
    assert growth_bytes <= 2_000_000


@pytest.mark.slow
def test_d09_aborts_in_mid_stream_leave_nothing(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock(**paced(1000, 20.0), HTTPX_MAX_CONNECTIONS="1000", CONSOUL_BACKLOG="4096")

    def state() -> dict[str, float]:
        return {
            "files": count_files(mock),
            "tasks": mock.sample("consoul_event_loop_tasks"),
            "sessions": mock.sample("consoul_active_sessions"),
            "provider": mock.sample("consoul_pool_connections_in_use", pool="provider"),
            "connections": mock.sample("consoul_websocket_connections"),
            "in flight": mock.sample("consoul_requests_in_flight"),
            "health": mock.request("GET", "/health").body["connections"],
        }

    abort_many(mock, "warm", 100)
    wait_until(lambda: mock.sample("consoul_requests_in_flight") == 0, "warm-up over")
    wait_until(lambda: mock.sample("consoul_pool_connections_in_use", pool="provider") == 0, "sampled")
    before, before_bytes = state(), rss_bytes(mock)
    for turn in range(10):
        abort_many(mock, f"turn-{turn}", 100)
    wait_until(lambda: state() == before, f"back to {before}, is {state()}")
    growth_bytes = rss_bytes(mock) - before_bytes
    measure("1,000 aborts: tasks, files, sessions as before", f"{before} again; RSS +{growth_bytes / 1e6:.1f} MB")
    assert growth_bytes <= 16_000_000
    assert "Traceback" not in mock.log.read_text()


def abort_many(mock: Mock, name: str, count: int) -> None:
    """Opens connections, waits for a first token on each, and resets them."""
    with ExitStack() as stack:
        clients = [stack.enter_context(RawWebSocket(mock.port, f"/ws/chat/{name}-{n}")) for n in range(count)]
        for ws in clients:
            ws.send("go")
        for ws in clients:
            assert ws.read_message()["type"] == "token"
            ws.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.slow
def test_d10_silent_peer_is_given_up(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock()
    with RawWebSocket(mock.port) as silent, RawWebSocket(mock.port) as alive:
        opened_s = time.monotonic()
        answering = threading.Thread(target=answer_pings, args=(alive,))
        answering.start()
        wait_until(lambda: find_socket(mock, silent.local_port) != "file", "file closed", deadline_s=45)
        took_s = time.monotonic() - opened_s
        count, frame = read_end(silent)
        alive.send("still here")
        answering.join(timeout=15)
        assert not answering.is_alive(), "the one that answers pings is served"
    measure("freed within 20 + 20 s", f"{took_s:.1f} s, after {count} ping(s), close {frame.close_code}")
    assert 20 < took_s <= 40.5
    assert frame.close_code == 1011


def answer_pings(ws: RawWebSocket) -> None:
    ws.sock.settimeout(60)
    assert ws.read_answer()[1]["type"] == "done"


@pytest.mark.slow
def test_d11_flood_of_messages_is_made_to_wait(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock(**paced(2, 0.1))
    with RawWebSocket(mock.port, "/ws/chat/warm") as warm:
        warm.send("x")
        warm.read_answer()
    before_bytes = rss_bytes(mock)
    message = build_frame(TEXT, b'{"type":"message","content":"x"}')
    asked = 100_000
    with RawWebSocket(mock.port, "/ws/chat/flood") as flood, RawWebSocket(mock.port, "/ws/chat/calm") as calm:
        flood.sock.settimeout(2)
        sent_bytes = send_until_blocked(flood.sock, message * asked)
        started_s = time.monotonic()
        calm.send("x")
        assert calm.read_answer()[1]["type"] == "done"
        calm_s = time.monotonic() - started_s
        growth_bytes = rss_bytes(mock) - before_bytes
        flood.sock.settimeout(15)
        answered = [flood.read_answer()[1]["type"] for _ in range(10)]
    taken = sent_bytes // len(message)
    measure(
        "reads paused, queue bounded",
        f"{taken} of {asked} messages left the client (kernel buffers), RSS +{growth_bytes / 1e6:.1f} MB, "
        f"another client answered in {calm_s * 1000:.0f} ms",
    )
    assert sent_bytes < len(message) * asked, "the client was made to wait"
    assert growth_bytes <= 2_000_000
    assert answered == ["done"] * 10
    assert calm_s < 2


def send_until_blocked(sock: socket.socket, data: bytes) -> int:
    sent_bytes = 0
    try:
        while sent_bytes < len(data):
            sent_bytes += sock.send(data[sent_bytes : sent_bytes + 65_536])
    except TimeoutError:
        pass
    return sent_bytes


def test_d12_bad_keys_see_1008_and_no_token(start_mock: StartMock, measure: Measure) -> None:
    mock = start_mock(CONSOUL_API_KEYS="canary-one,canary-two")
    refused = {
        "missing": RawWebSocket(mock.port),
        "unknown": RawWebSocket(mock.port, headers=("X-API-Key: canary-three",)),
        "prefix": RawWebSocket(mock.port, headers=("X-API-Key: canary-on",)),
        "empty header": RawWebSocket(mock.port, headers=("X-API-Key: ",)),
        "empty query": RawWebSocket(mock.port, "/ws/chat/raw?api_key="),
        "unknown in query": RawWebSocket(mock.port, "/ws/chat/raw?api_key=canary-three"),
        "two headers": RawWebSocket(mock.port, headers=("X-API-Key: canary-one", "X-API-Key: canary-two")),
        "two in query": RawWebSocket(mock.port, "/ws/chat/raw?api_key=canary-one&api_key=canary-two"),
        "header against query": RawWebSocket(
            mock.port, "/ws/chat/raw?api_key=canary-two", headers=("X-API-Key: canary-one",)
        ),
        "not a bearer": RawWebSocket(mock.port, headers=("Authorization: Basic canary-one",)),
    }
    found = {}
    for name, ws in refused.items():
        with ws:
            ws.send("let me in")
            count, frame = read_end(ws)
            found[name] = (ws.status, count, frame.close_code)
    allowed = {
        "header": RawWebSocket(mock.port, headers=("X-API-Key: canary-one",)),
        "bearer": RawWebSocket(mock.port, headers=("Authorization: Bearer canary-one",)),
        "query": RawWebSocket(mock.port, "/ws/chat/raw?api_key=canary%2Done"),
        "same twice": RawWebSocket(mock.port, "/ws/chat/raw?api_key=canary-one", headers=("X-API-Key: canary-one",)),
    }
    for ws in allowed.values():
        with ws:
            ws.send("hello")
            assert ws.read_answer()[1]["type"] == "done"
    with pytest.raises(websocket.WebSocketConnectionClosedException):
        see_1008_with_a_library(mock)
    measure("0 bytes of stream before 1008", f"1008 first in {len(refused)} of {len(refused)} cases")
    assert set(found.values()) == {(101, 0, 1008)}, found
    assert mock.sample("consoul_request_total", endpoint="/ws/chat/{session_id}", method="WS", status="401") == 11
    assert "canary" not in mock.log.read_text()


def see_1008_with_a_library(mock: Mock) -> None:
    ws = websocket.create_connection(f"ws://127.0.0.1:{mock.port}/ws/chat/x", timeout=5)
    opcode, data = ws.recv_data()
    assert (opcode, int.from_bytes(data[:2], "big")) == (CLOSE, 1008)
    ws.recv()
