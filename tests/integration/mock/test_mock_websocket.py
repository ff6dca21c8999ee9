"""Chat over real WebSockets of a real mock: shapes of messages, order, refusals, ends."""

import json
import signal
from typing import Any

import pytest
import websocket

from tests.integration.mock.conftest import Mock, StartMock, wait_until
from tests.reliability.raw_websocket import BINARY, TEXT, RawWebSocket

ENDPOINT = "/ws/chat/{session_id}"
SLOW = '{"total_s": [0.6, 0.6], "first_token_share": 0.5, "tokens": [3, 3]}'


def connect(mock: Mock, path: str = "/ws/chat/ws-load-test-3-17", **more: Any) -> websocket.WebSocket:
    return websocket.create_connection(f"ws://127.0.0.1:{mock.port}{path}", timeout=10, **more)


def ask(ws: websocket.WebSocket, content: Any) -> tuple[list[str], dict[str, Any]]:
    ws.send(json.dumps({"type": "message", "content": content}))
    return answer(ws)


def answer(ws: websocket.WebSocket) -> tuple[list[str], dict[str, Any]]:
    tokens = []
    while (message := json.loads(ws.recv()))["type"] == "token":
        assert set(message) == {"type", "data"}
        assert set(message["data"]) == {"text"}
        tokens.append(message["data"]["text"])
    return tokens, message


@pytest.fixture
def mock(start_mock: StartMock) -> Mock:
    return start_mock(MOCK_SEED="7")


def test_messages_are_answered_in_the_shapes_of_the_contract_and_the_connection_stays(mock: Mock) -> None:
    ws = connect(mock, header=["X-Request-ID: mine"])
    assert (ws.getheaders() or {})["x-request-id"] == "mine"
    for turn in range(3):
        tokens, done = ask(ws, f"hello {turn}")
        assert 12 <= len(tokens) <= 24
        assert done["type"] == "done"
        assert set(done) == {"type", "data"}
        assert set(done["data"]) == {"usage", "timestamp"}
        assert set(done["data"]["usage"]) == {"input_tokens", "output_tokens", "duration_ms"}
        assert done["data"]["usage"]["output_tokens"] == len(tokens)
    wrong = ["nope", '{"type":"ping"}', "[]", '{"type":"message"}', '{"type":"message","content":""}']
    wrong += [json.dumps({"type": "message", "content": text}) for text in ("x" * 32_769, 7, None)]
    codes = []
    for raw in wrong:
        ws.send(raw)
        error = json.loads(ws.recv())
        assert set(error["data"]) == {"code", "error", "message", "recoverable", "retry_after"}
        codes.append(error["data"]["code"])
    assert codes == ["E002", "E001", "E001", "E003", "E003", "E003", "E003", "E003"]
    ws.send_binary(b'{"type":"message","content":"in binary"}')
    assert answer(ws)[1]["type"] == "done"
    assert mock.request("GET", "/health").body["connections"] == 1
    ws.close()
    wait_until(lambda: mock.request("GET", "/health").body["connections"] == 0, "connection counted off")
    assert mock.sample("consoul_request_total", endpoint=ENDPOINT, method="WS", status="200") == 4
    assert mock.sample("consoul_request_total", endpoint=ENDPOINT, method="WS", status="422") == 5
    assert mock.sample("consoul_request_total", endpoint=ENDPOINT, method="WS", status="400") == 3
    assert mock.sample("consoul_errors_total", endpoint=ENDPOINT, error_type="client_error") == 8
    assert mock.sample("consoul_request_latency_seconds_count", endpoint=ENDPOINT, method="WS") == 12
    assert mock.sample("consoul_requests_in_flight") == 0
    assert mock.log.read_text().count("Traceback") == 0


def test_pipelined_messages_are_answered_in_order(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_PROFILE="cached")
    ws = connect(mock)
    for number in range(40):
        ws.send(json.dumps({"type": "message" if number % 2 else f"t{number}", "content": f"{number}"}))
    kinds = [answer(ws)[1]["type"] for _ in range(40)]
    assert kinds == ["error", "done"] * 20
    # The session holds the turns in the order they were asked in.
    ws.close()


def test_a_session_goes_on_between_websocket_and_http(mock: Mock) -> None:
    ws = connect(mock, "/ws/chat/both")
    first = ask(ws, "hello")[1]["data"]["usage"]["input_tokens"]
    assert mock.chat("both").body["usage"]["input_tokens"] > first
    assert ask(ws, "hello")[1]["data"]["usage"]["input_tokens"] > first
    ws.close()


def test_message_split_into_frames_with_a_ping_between(mock: Mock) -> None:
    with RawWebSocket(mock.port) as raw:
        whole = json.dumps({"type": "message", "content": "in pieces"}).encode()
        raw.send_frame(TEXT, whole[:9], first=0x01)
        raw.send_frame(0, whole[9:20], first=0x00)
        raw.send_frame(0x9, b"beat")
        raw.send_frame(0, whole[20:], first=0x80)
        pong = raw.read_frame()
        assert pong is not None
        assert (pong.opcode, pong.payload) == (0xA, b"beat")
        assert raw.read_answer()[1]["type"] == "done"
        raw.send_frame(BINARY, b"\xff")
        assert raw.read_message()["data"]["code"] == "E002"


def test_limit_holds_per_message(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_DEFAULT_LIMITS="2/hour")
    ws = connect(mock)
    assert [ask(ws, "x")[1]["type"] for _ in range(3)] == ["done", "done", "error"]
    ws.send('{"type":"message","content":"x"}')
    error = json.loads(ws.recv())["data"]
    assert error["code"] == "E020"
    assert 0 < error["retry_after"] <= 1800
    ws.close()
    assert mock.sample("consoul_request_total", endpoint=ENDPOINT, method="WS", status="429") == 2


def test_failing_provider_and_open_breaker_are_error_messages(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_FAILURE_RATIO="1")
    ws = connect(mock)
    codes = [ask(ws, "x")[1]["data"]["code"] for _ in range(6)]
    assert codes == ["E200"] * 5 + ["E206"]
    ws.close()


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/ws/nothing", 404, "E004"),
        ("/chat", 404, "E004"),
        ("/ws/chat/a/b", 404, "E004"),
        ("/ws/chat/", 422, "E003"),
        ("/ws/chat/a%20b", 422, "E003"),
        ("/ws/chat/a%0A", 422, "E003"),
        (f"/ws/chat/{'x' * 129}", 422, "E003"),
    ],
)
def test_bad_path_is_an_http_answer_to_the_handshake(mock: Mock, path: str, status: int, code: str) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(mock, path)
    assert caught.value.status_code == status
    body = json.loads(caught.value.resp_body or b"")
    assert body["code"] == code
    assert set(body) == {"code", "error", "message", "recoverable", "retry_after", "details", "timestamp"}
    assert (caught.value.resp_headers or {})["x-request-id"]
    assert "Traceback" not in mock.log.read_text()


def test_connections_beyond_the_maximum_are_503_and_places_come_free(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_MAX_WEBSOCKET_CONNECTIONS="2")
    first, second = connect(mock), connect(mock)
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(mock)
    assert caught.value.status_code == 503
    assert json.loads(caught.value.resp_body or b"")["code"] == "E120"
    assert (caught.value.resp_headers or {})["retry-after"] == "1"
    first.close()
    wait_until(lambda: mock.sample("consoul_websocket_connections") == 1, "place free")
    third = connect(mock)
    assert ask(third, "x")[1]["type"] == "done"
    second.close()
    third.close()


@pytest.mark.slow
def test_idle_connection_is_closed_and_a_running_answer_is_not_idle(start_mock: StartMock) -> None:
    profile = '{"total_s": [2, 2], "first_token_share": 1, "tokens": [1, 1]}'
    mock = start_mock(
        CONSOUL_WEBSOCKET_IDLE_TIMEOUT="1", MOCK_PROVIDER_PROFILE="custom", MOCK_PROVIDER_CUSTOM=profile
    )
    with RawWebSocket(mock.port) as idle, RawWebSocket(mock.port) as busy:
        busy.send("x")
        count, frame = idle.read_until_close()
        assert count == 0
        assert frame is not None
        assert (frame.close_code, frame.close_reason) == (1001, "idle")
        assert busy.read_answer()[1]["type"] == "done"


@pytest.mark.slow
def test_draining_lets_a_running_answer_end_and_closes_with_1012(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_PROFILE="custom", MOCK_PROVIDER_CUSTOM=SLOW)
    with RawWebSocket(mock.port, "/ws/chat/idle") as idle, RawWebSocket(mock.port, "/ws/chat/busy") as busy:
        busy.send("first")
        busy.send("never started")
        wait_until(lambda: mock.sample("consoul_requests_in_flight") == 1, "answering")
        mock.process.send_signal(signal.SIGTERM)
        _, frame = idle.read_until_close()
        assert frame is not None
        assert frame.close_code == 1012
        tokens, done = busy.read_answer()
        assert (len(tokens), done["type"]) == (3, "done")
        count, frame = busy.read_until_close()
        assert count == 0
        assert frame is not None
        assert frame.close_code == 1012
    assert mock.process.wait(timeout=10) == 0


def test_client_that_leaves_before_the_first_token_ends_its_call(start_mock: StartMock) -> None:
    profile = '{"total_s": [60, 60], "first_token_share": 1, "tokens": [1, 1]}'
    mock = start_mock(MOCK_PROVIDER_PROFILE="custom", MOCK_PROVIDER_CUSTOM=profile)
    with RawWebSocket(mock.port) as leaving:
        leaving.send("first")
        for number in range(20):
            leaving.send(f"waiting {number}")
        wait_until(lambda: mock.sample("consoul_requests_in_flight") == 1, "answering")
    wait_until(lambda: mock.sample("consoul_requests_in_flight") == 0, "answer given up", deadline_s=5)
    wait_until(lambda: mock.sample("consoul_websocket_connections") == 0, "connection gone", deadline_s=5)
    assert mock.sample("consoul_request_total", endpoint=ENDPOINT, method="WS", status="499") == 1
