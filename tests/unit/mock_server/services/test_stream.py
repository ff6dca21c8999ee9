"""`POST /chat/stream` and `POST /chat/batch` over HTTP, in one process on memory state."""

import json
from typing import Any

import pytest

from tests.unit.mock_server.conftest import StartMock

TURN = {"session_id": "load-test-3-17", "message": "hello"}
SHAPE = {"code", "error", "message", "recoverable", "retry_after", "details", "timestamp"}
CUSTOM = '{"total_s": [2, 2], "first_token_share": 0.5, "tokens": [5, 5]}'
SLOW = {"MOCK_PROVIDER_PROFILE": "custom", "MOCK_PROVIDER_CUSTOM": CUSTOM}


def parse(text: str) -> list[tuple[str, Any]]:
    """Returns name and data of each event."""
    events = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return events


def test_tokens_come_as_events_and_then_done(start_mock: StartMock) -> None:
    mock = start_mock(**SLOW)
    answer = mock.client.post("/chat/stream", json=TURN)
    events = parse(answer.text)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/event-stream"
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no")
    assert set(answer.headers) >= {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset", "x-request-id"}
    assert [name for name, _ in events] == ["token"] * 5 + ["done"]
    assert all(set(data) == {"text"} for name, data in events if name == "token")
    done = events[-1][1]
    assert set(done) == {"session_id", "usage", "timestamp"}
    assert set(done["usage"]) == {"input_tokens", "output_tokens", "total_tokens", "estimated_cost"}
    assert (done["session_id"], done["usage"]["output_tokens"]) == ("load-test-3-17", 5)


def test_a_stream_says_what_a_whole_answer_would(start_mock: StartMock) -> None:
    events = parse(start_mock().client.post("/chat/stream", json=TURN).text)
    whole = start_mock().client.post("/chat", json=TURN).json()
    assert "".join(data["text"] for name, data in events if name == "token") == whole["response"]
    assert events[-1][1]["usage"] == whole["usage"]


def test_streams_are_counted_and_timed(start_mock: StartMock) -> None:
    mock = start_mock(**SLOW)
    mock.client.post("/chat/stream", json=TURN)
    assert mock.sample("consoul_request_total", endpoint="/chat/stream", method="POST", status="200") == 1
    assert mock.sample("consoul_request_latency_seconds_sum", endpoint="/chat/stream", method="POST") == 2.0
    assert mock.sample("consoul_overhead_seconds_sum", endpoint="/chat/stream") == pytest.approx(0, abs=1e-9)
    assert mock.sample("consoul_time_to_first_token_seconds_sum", transport="sse") == 1.0
    assert mock.client.get("/health").json()["connections"] == 0


@pytest.mark.parametrize("path", ["/chat/stream", "/chat/batch"])
def test_what_is_refused_before_the_provider_is_plain_json(start_mock: StartMock, path: str) -> None:
    mock = start_mock(CONSOUL_API_KEYS="one,two", CONSOUL_DEFAULT_LIMITS="3/minute")
    one = {"X-API-Key": "one"}
    body = TURN | {"messages": [{"role": "user", "content": "hello"}]}
    refused = [
        (mock.client.post(path, content=b"{"), 401, "E011"),
        (mock.client.post(path, content=b"{", headers=one), 400, "E002"),
        (mock.client.post(path, json={"session_id": "a b", "message": ""}, headers=one), 422, "E003"),
    ]
    assert mock.sample("consoul_rate_limit_decisions_total", tier="default", decision="allowed") == 0
    assert {mock.client.post(path, json=body, headers=one).status_code for _ in range(3)} == {200}
    refused.append((mock.client.post(path, json=body, headers=one), 429, "E020"))
    for answer, status, code in refused:
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert set(answer.json()) == SHAPE
    assert mock.client.get(path).status_code == 405


def test_a_stream_on_another_keys_session_is_404(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_API_KEYS="one,two")
    assert mock.client.post("/chat/stream", json=TURN, headers={"X-API-Key": "one"}).status_code == 200
    answer = mock.client.post("/chat/stream", json=TURN, headers={"X-API-Key": "two"})
    assert (answer.status_code, answer.json()["code"]) == (404, "E012")


@pytest.mark.parametrize(
    ("kind", "code"), [("error", "E200"), ("timeout", "E204"), ("rate_limited", "E205"), ("truncated", "E209")]
)
def test_what_the_provider_fails_at_is_an_event(start_mock: StartMock, kind: str, code: str) -> None:
    mock = start_mock(MOCK_PROVIDER_FAILURE_RATIO="1", MOCK_PROVIDER_FAILURE_KIND=kind, **SLOW)
    answer = mock.client.post("/chat/stream", json=TURN)
    *before, (name, data) = parse(answer.text)
    assert (answer.status_code, name, data["code"]) == (200, "error", code)
    assert set(data) == SHAPE
    fault = "provider-" + kind.replace("_", "-")
    assert data["details"] == {"fault": fault}
    if kind == "truncated":
        assert 1 <= len(before) < 5
        assert {name for name, _ in before} == {"token"}
    else:
        assert not before
        assert answer.headers["x-mock-fault"] == fault
    assert mock.sample("consoul_errors_total", endpoint="/chat/stream", error_type="injected") == 1
    assert mock.sample("consoul_active_sessions") == 0


def test_an_open_breaker_is_one_event(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_FAILURE_RATIO="1", MOCK_PROVIDER_FAILURE_KIND="rate_limited")
    for _ in range(5):
        mock.client.post("/chat/stream", json=TURN)
    answer = mock.client.post("/chat/stream", json=TURN)
    ((name, data),) = parse(answer.text)
    assert (answer.status_code, name, data["code"], data["retry_after"]) == (200, "error", "E206", 60.0)
    assert "x-mock-fault" not in answer.headers
    assert mock.client.post("/chat", json=TURN).json()["code"] == "E206", "one breaker for all transports"
    assert mock.sample("consoul_errors_total", endpoint="/chat/stream", error_type="circuit_open") == 1


def batch(*contents: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content} for content in contents], **more}


def test_a_batch_answers_each_message_in_order_on_one_session(start_mock: StartMock) -> None:
    mock = start_mock(**SLOW)
    answer = mock.client.post("/chat/batch", json=batch("one", "two", "three", session_id="b"))
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"session_id", "results", "succeeded", "failed", "usage", "timestamp"}
    assert (body["session_id"], body["succeeded"], body["failed"]) == ("b", 3, 0)
    assert [item["index"] for item in body["results"]] == [0, 1, 2]
    assert all(item["response"] and "error" not in item for item in body["results"])
    given = [item["usage"]["input_tokens"] for item in body["results"]]
    assert given == sorted(set(given)), "each turn carries those before it"
    assert body["usage"]["input_tokens"] == sum(given)
    assert mock.sample("consoul_request_latency_seconds_sum", endpoint="/chat/batch", method="POST") == 6.0
    assert mock.sample("consoul_sessions_created_total") == 1
    assert mock.sample("consoul_token_usage_total", direction="output", model="gpt-4") == 15


def test_messages_sent_at_once_do_not_see_one_another_and_are_all_saved(start_mock: StartMock) -> None:
    mock = start_mock()
    body = mock.client.post("/chat/batch", json=batch("aaaa", "bbbb", session_id="b", sequential=False)).json()
    assert [item["usage"]["input_tokens"] for item in body["results"]] == [1, 1]
    after = mock.client.post("/chat", json={"session_id": "b", "message": "cccc"}).json()
    answered = sum(item["usage"]["output_tokens"] for item in body["results"])
    assert after["usage"]["input_tokens"] == 1 + 2 + answered
    assert mock.sample("consoul_sessions_created_total") == 1


@pytest.mark.parametrize("sequential", [True, False])
def test_a_failed_message_carries_its_error_and_the_others_succeed(start_mock: StartMock, sequential: bool) -> None:
    mock = start_mock(MOCK_PROVIDER_FAILURE_RATIO="0.3", MOCK_PROVIDER_FAILURE_KIND="rate_limited", MOCK_SEED="7")
    contents = [f"message {number}" for number in range(10)]
    answer = mock.client.post("/chat/batch", json=batch(*contents, session_id="b", sequential=sequential))
    body = answer.json()
    failed = [item for item in body["results"] if "error" in item]
    assert answer.status_code == 200
    assert body["failed"] == len(failed)
    assert 0 < len(failed) < 10
    assert body["succeeded"] == 10 - len(failed)
    for item in failed:
        assert set(item) == {"index", "error"}
        assert set(item["error"]) == SHAPE
        assert item["error"]["code"] == "E205"
    assert answer.headers["x-mock-fault"] == "provider-rate-limited"
    assert mock.sample("consoul_errors_total", endpoint="/chat/batch", error_type="injected") == 1


def test_a_batch_costs_one_unit_for_each_message_and_all_or_nothing(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_DEFAULT_LIMITS="5/minute")
    first = mock.client.post("/chat/batch", json=batch("a", "b", "c"))
    assert first.headers["ratelimit-remaining"] == "2"
    refused = mock.client.post("/chat/batch", json=batch("a", "b", "c"))
    assert (refused.status_code, refused.headers["ratelimit-remaining"]) == (429, "2")
    assert mock.client.post("/chat/batch", json=batch("a", "b")).status_code == 200


@pytest.mark.parametrize("limits", ["2/second", "100/minute;2/second"])
def test_a_batch_that_no_limit_could_ever_admit_is_not_told_to_wait(start_mock: StartMock, limits: str) -> None:
    mock = start_mock(CONSOUL_DEFAULT_LIMITS=limits)
    refused = mock.client.post("/chat/batch", json=batch("a", "b", "c"))
    assert (refused.status_code, refused.json()["code"], refused.json()["retry_after"]) == (422, "E003", None)
    (problem,) = refused.json()["details"]
    assert problem["field"] == "messages"
    assert "3" in problem["reason"]
    assert "2/second" in problem["reason"]
    assert mock.sample("consoul_rate_limit_decisions_total", tier="default", decision="limited") == 0
    answer = mock.client.post("/chat/batch", json=batch("a", "b"))
    assert (answer.status_code, answer.headers["ratelimit-remaining"]) == (200, "0"), "it cost nothing"


def test_a_batch_without_a_session_gets_one_of_its_own(start_mock: StartMock) -> None:
    mock = start_mock()
    names = [mock.client.post("/chat/batch", json=batch("hello")).json()["session_id"] for _ in range(2)]
    assert len(set(names)) == 2
    assert mock.client.post("/chat", json={"session_id": names[0], "message": "m"}).status_code == 200
    assert mock.sample("consoul_sessions_created_total") == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"messages": []}, "messages"),
        ({}, "messages"),
        (batch(*["m"] * 11), "messages"),
        ({"messages": [{"role": "robot", "content": "m"}]}, "messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, "messages.0.content"),
        ({"messages": [{"role": "user", "content": "x" * 32_769}]}, "messages.0.content"),
        ({"messages": [{"role": "user"}]}, "messages.0.content"),
        (batch("m", session_id="a b"), "session_id"),
        (batch("m", sequential="yes"), "sequential"),
        (batch("m", sequential=None), "sequential"),
        (batch("m", model="bad model"), "model"),
    ],
)
def test_bad_fields_of_a_batch_are_listed(start_mock: StartMock, body: dict[str, Any], field: str) -> None:
    answer = start_mock().client.post("/chat/batch", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "E003")
    assert [detail["field"] for detail in answer.json()["details"]] == [field]
