"""What a worker that is ending answers: whole mocks in memory, with the state a server would set."""

from typing import Any

import pytest
from starlette.testclient import WebSocketDenialResponse

from mock_server.core.draining import Draining
from tests.unit.mock_server.conftest import RunningMock, StartMock

CHAT = {"session_id": "s", "message": "hello"}


def draining_of(mock: RunningMock) -> Draining:
    draining = mock.client.app_state["draining"]
    assert isinstance(draining, Draining)
    return draining


def test_while_stopping_new_requests_are_refused_with_when_to_come_again(start_mock: StartMock) -> None:
    mock = start_mock()
    assert "connection" not in mock.client.post("/chat", json=CHAT).headers
    draining_of(mock).begin("stop")
    answer = mock.client.post("/chat", json=CHAT, headers={"x-request-id": "mine"})
    assert (answer.status_code, answer.json()["code"], answer.json()["retry_after"]) == (503, "E121", 1.0)
    assert {name: answer.headers.get(name) for name in ("retry-after", "connection", "x-request-id")} == {
        "retry-after": "1",
        "connection": "close",
        "x-request-id": "mine",
    }
    assert mock.sample("consoul_rate_limit_decisions_total", tier="default", decision="allowed") == 1


def test_while_stopping_health_stays_and_ready_says_why_not(start_mock: StartMock) -> None:
    mock = start_mock()
    draining_of(mock).begin("stop")
    assert mock.client.get("/health").status_code == 200
    ready = mock.client.get("/ready")
    assert (ready.status_code, ready.json()["status"]) == (503, "not_ready")
    assert ready.json()["checks"]["process"] == "draining"
    assert ready.headers["retry-after"] == "1"


def test_while_being_replaced_every_request_is_served_as_the_last_of_its_connection(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_DEFAULT_LIMITS="1/hour")
    draining_of(mock).begin("replace")
    answers = [
        mock.client.post("/chat", json=CHAT),
        mock.client.post("/chat", json=CHAT),
        mock.client.get("/ready"),
        mock.client.get("/nowhere"),
    ]
    assert [answer.status_code for answer in answers] == [200, 429, 200, 404]
    assert {answer.headers["connection"] for answer in answers} == {"close"}


@pytest.mark.parametrize("phase", ["stop", "replace"])
def test_new_websockets_are_refused_in_the_one_shape(start_mock: StartMock, phase: Any) -> None:
    mock = start_mock()
    draining_of(mock).begin(phase)
    with pytest.raises(WebSocketDenialResponse) as refused, mock.client.websocket_connect("/ws/chat/s"):
        pass
    assert refused.value.status_code == 503
    assert refused.value.json()["code"] == "E121"
    assert refused.value.headers["retry-after"] == "1"
    assert "x-request-id" in refused.value.headers
    assert mock.sample("consoul_request_total", endpoint="/ws/chat/{session_id}", method="WS", status="503") == 1
