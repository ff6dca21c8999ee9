"""The mock over HTTP, in one process on memory state: contract's bodies, headers, order of checks."""

from typing import Any

import pytest

from tests.unit.mock_server.conftest import StartMock

TURN = {"session_id": "load-test-3-17", "message": "hello"}
SHAPE = {"code", "error", "message", "recoverable", "retry_after", "details", "timestamp"}
LIMIT_HEADERS = {"ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"}


def test_chat_answers_as_the_contract_says(start_mock: StartMock) -> None:
    answer = start_mock().client.post("/chat", json=TURN)
    body = answer.json()
    assert answer.status_code == 200
    assert set(body) == {"session_id", "response", "model", "usage", "timestamp"}
    assert body["session_id"] == "load-test-3-17"
    assert body["response"]
    usage = body["usage"]
    assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
    assert usage["estimated_cost"] > 0
    assert body["timestamp"].endswith("Z")
    assert set(answer.headers) >= LIMIT_HEADERS | {"x-request-id"}


def test_later_turns_carry_the_history_and_keep_the_model(start_mock: StartMock) -> None:
    mock = start_mock()
    first = mock.client.post("/chat", json=TURN | {"model": "claude"}).json()
    second = mock.client.post("/chat", json=TURN | {"model": "gpt-4"}).json()
    assert second["model"] == "claude"
    assert second["usage"]["input_tokens"] == first["usage"]["total_tokens"] + first["usage"]["input_tokens"]
    assert mock.sample("consoul_sessions_created_total") == 1


@pytest.mark.parametrize("session_id", ["load-test-3-17", "ws-load-test-3-17", "test", "A.b_c:d-9", "x" * 128])
def test_session_ids_of_the_profiles_are_accepted(start_mock: StartMock, session_id: str) -> None:
    assert start_mock().client.post("/chat", json=TURN | {"session_id": session_id}).status_code == 200


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"session_id": ""}, "session_id"),
        ({"session_id": "x" * 129}, "session_id"),
        ({"session_id": "a/b"}, "session_id"),
        ({"session_id": "abc\n"}, "session_id"),
        ({"session_id": 5}, "session_id"),
        ({"message": ""}, "message"),
        ({"message": "x" * 32_769}, "message"),
        ({"message": None}, "message"),
        ({"model": "m" * 65}, "model"),
        ({"model": "bad model"}, "model"),
    ],
)
def test_bad_fields_are_listed_and_never_echoed(start_mock: StartMock, change: dict[str, Any], field: str) -> None:
    mock = start_mock()
    answer = mock.client.post("/chat", json=TURN | change)
    body = answer.json()
    assert (answer.status_code, body["code"]) == (422, "E003")
    assert [detail["field"] for detail in body["details"]] == [field]
    assert not isinstance(change.get(field), str) or len(change[field]) < 60 or change[field] not in answer.text
    assert mock.sample("consoul_rate_limit_decisions_total", tier="default", decision="allowed") == 0


def test_everything_wrong_is_listed_at_once(start_mock: StartMock) -> None:
    body = start_mock().client.post("/chat", json={"session_id": "a b", "model": ""}).json()
    assert [detail["field"] for detail in body["details"]] == ["session_id", "message", "model"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b'{"session_id":NaN}',
        b'{"x":' + b"[" * 10_000 + b"]" * 10_000 + b"}",
        b'{"message":"\\ud800"}',
    ],
)
def test_what_is_not_json_is_400(start_mock: StartMock, content: bytes) -> None:
    answer = start_mock().client.post("/chat", content=content)
    assert (answer.status_code, answer.json()["code"]) == (400, "E002")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nope", 404, "E004"),
        ("GET", "/chat", 405, "E005"),
        ("DELETE", "/health", 405, "E005"),
        ("GET", "/chat/", 404, "E004"),
    ],
)
def test_unknown_paths_and_methods_have_the_one_shape(
    start_mock: StartMock, method: str, path: str, status: int, code: str
) -> None:
    answer = start_mock().client.request(method, path)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == SHAPE
    assert ("allow" in answer.headers) == (status == 405)


def test_limit_used_up_is_429_with_exact_and_rounded_wait(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_DEFAULT_LIMITS="7/minute")
    answers = [mock.client.post("/chat", json=TURN) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [200] * 7 + [429]
    refused = answers[-1]
    assert set(refused.json()) == SHAPE
    assert (refused.json()["code"], refused.json()["error"]) == ("E020", "rate_limited")
    exact_s = refused.json()["retry_after"]
    assert exact_s == pytest.approx(60 / 7, abs=1e-5)
    assert refused.headers["retry-after"] == "9"
    assert (refused.headers["ratelimit-limit"], refused.headers["ratelimit-remaining"]) == ("7", "0")
    mock.clock.now_s += exact_s * 0.9
    assert mock.client.post("/chat", json=TURN).status_code == 429
    mock.clock.now_s += exact_s * 0.1 + 1e-6
    assert mock.client.post("/chat", json=TURN).status_code == 200
    assert mock.sample("consoul_rate_limit_decisions_total", tier="default", decision="limited") == 2
    assert mock.sample("consoul_errors_total", endpoint="/chat", error_type="rate_limited") == 2


def test_limiter_can_be_switched_off(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_DEFAULT_LIMITS="1/day", CONSOUL_RATE_LIMIT_ENABLED="false")
    answers = [mock.client.post("/chat", json=TURN) for _ in range(3)]
    assert {answer.status_code for answer in answers} == {200}
    assert not LIMIT_HEADERS & set(answers[0].headers)


def test_keys_choose_the_tier_and_tiers_do_not_share(start_mock: StartMock) -> None:
    mock = start_mock(
        CONSOUL_DEFAULT_LIMITS="1/minute",
        CONSOUL_TIER_KEYS='{"k-basic":"basic"}',
        CONSOUL_TIER_LIMITS='{"basic":"2/minute"}',
    )

    def statuses(headers: dict[str, str]) -> list[int]:
        return [mock.client.post("/chat", json=TURN, headers=headers).status_code for _ in range(3)]

    assert statuses({"X-API-Key": "k-basic"}) == [200, 200, 429]
    assert statuses({"Authorization": "Bearer k-other"}) == [200, 429, 429]
    assert statuses({}) == [200, 429, 429]


def test_auth_comes_before_fields_and_costs_nothing(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_API_KEYS="right")
    for headers in ({}, {"X-API-Key": "wrong"}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic right"}):
        answer = mock.client.post("/chat", content=b"{", headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "E011")
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert mock.client.post("/chat", json=TURN, headers={"Authorization": "bearer right"}).status_code == 200
    assert mock.client.get("/health").status_code == 200
    assert mock.client.get("/ready").status_code == 200


def test_a_session_belongs_to_the_key_that_made_it(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_API_KEYS="one,two")
    assert mock.client.post("/chat", json=TURN, headers={"X-API-Key": "one"}).status_code == 200
    answer = mock.client.post("/chat", json=TURN, headers={"X-API-Key": "two"})
    assert (answer.status_code, answer.json()["code"]) == (404, "E012")


def test_bodies_beyond_the_limit_are_413_announced_or_not(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_MAX_BODY_SIZE="2048")
    for content in (b"x" * 2049, iter([b"x" * 1024] * 3)):
        answer = mock.client.post("/chat", content=content)
        assert (answer.status_code, answer.json()["code"]) == (413, "E006")
        assert answer.json()["details"] == {"limit_bytes": 2048}


def test_breaker_opens_and_refuses_without_calling(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_FAILURE_RATIO="1", CONSOUL_DEFAULT_LIMITS="100/second")
    failed = [mock.client.post("/chat", json=TURN) for _ in range(5)]
    assert {(answer.status_code, answer.json()["code"]) for answer in failed} == {(503, "E200")}
    assert failed[0].headers["x-mock-fault"] == "provider-error"
    calls = mock.sample("consoul_provider_latency_seconds_count", provider="openai")
    refused = mock.client.post("/chat", json=TURN)
    assert (refused.status_code, refused.json()["code"]) == (503, "E206")
    assert (refused.json()["retry_after"], refused.headers["retry-after"]) == (60.0, "60")
    assert set(refused.headers) >= LIMIT_HEADERS
    assert mock.sample("consoul_provider_latency_seconds_count", provider="openai") == calls == 5
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == 2
    assert mock.sample("consoul_circuit_breaker_trips_total", provider="openai") == 1
    assert mock.sample("consoul_circuit_breaker_rejections_total", provider="openai") == 1
    assert mock.sample("consoul_errors_total", endpoint="/chat", error_type="circuit_open") == 1
    assert mock.sample("consoul_errors_total", endpoint="/chat", error_type="injected") == 5
    other = mock.client.post("/chat", json={"session_id": "c", "message": "m", "model": "claude"})
    assert other.json()["code"] == "E200", "the other provider's breaker is its own"


def test_breaker_can_be_switched_off(start_mock: StartMock) -> None:
    mock = start_mock(
        MOCK_PROVIDER_FAILURE_RATIO="1", CONSOUL_DEFAULT_LIMITS="100/second", CONSOUL_CIRCUIT_BREAKER_ENABLED="false"
    )
    assert {mock.client.post("/chat", json=TURN).json()["code"] for _ in range(8)} == {"E200"}


def test_provider_takes_the_time_of_its_profile(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_PROFILE="gpt-4")
    assert mock.client.post("/chat", json=TURN).status_code == 200
    (slept_s,) = [seconds for seconds in mock.clock.slept_s if seconds != 1.0]
    assert 2 <= slept_s <= 10
    assert mock.sample("consoul_provider_latency_seconds_sum", provider="openai") == pytest.approx(slept_s)
    assert mock.sample("consoul_request_latency_seconds_sum", endpoint="/chat", method="POST") == pytest.approx(
        slept_s
    )
    assert mock.sample("consoul_overhead_seconds_sum", endpoint="/chat") == pytest.approx(0, abs=1e-9)


def test_provider_slower_than_its_timeout_is_503(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_PROFILE="gpt-4", OPENAI_TIMEOUT="1.5")
    answer = mock.client.post("/chat", json=TURN)
    assert (answer.status_code, answer.json()["code"]) == (503, "E204")
    assert "x-mock-fault" not in answer.headers


def test_sane_request_ids_come_back_and_others_are_replaced(start_mock: StartMock) -> None:
    client = start_mock().client
    assert client.get("/health", headers={"X-Request-ID": "abc-1.2:3_4"}).headers["x-request-id"] == "abc-1.2:3_4"
    made = {
        client.get("/nope", headers={"X-Request-ID": bad}).headers["x-request-id"] for bad in ("", "a b", "x" * 129)
    }
    assert len(made) == 3
    assert not made & {"", "a b", "x" * 129}


def test_metrics_count_every_request_once_by_template(start_mock: StartMock) -> None:
    mock = start_mock()
    for path in ("/health", "/ready", "/docs", "/openapi.json", "/nope/1", "/nope/2"):
        mock.client.get(path)
    mock.client.request("BREW", "/health")
    count = "consoul_request_total"
    for path in ("/health", "/ready", "/docs", "/openapi.json"):
        assert mock.sample(count, endpoint=path, method="GET", status="200") == 1
    assert mock.sample(count, endpoint="unmatched", method="GET", status="404") == 2
    assert mock.sample(count, endpoint="/health", method="OTHER", status="405") == 1
    assert mock.sample("consoul_requests_in_flight") == 0


def test_probes_say_what_they_check(start_mock: StartMock) -> None:
    mock = start_mock()
    health, ready = mock.client.get("/health").json(), mock.client.get("/ready").json()
    assert set(health) == {"status", "service", "version", "timestamp", "connections"}
    assert (health["status"], health["service"], health["connections"]) == ("healthy", "consoul", 0)
    assert ready["status"] == "ready"
    assert ready["checks"] == {"session_store": "memory", "rate_limiter": "memory"}


def test_unexpected_exceptions_are_500_and_logged_once(
    start_mock: StartMock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mock = start_mock()

    def explode(_: float) -> str:
        raise RuntimeError("canary detail")

    monkeypatch.setattr("mock_server.services.consoul.conversation.format_time", explode)
    answer = mock.client.post("/chat", json=TURN)
    assert (answer.status_code, answer.json()["code"]) == (500, "E900")
    assert "canary" not in answer.text
    assert len([record for record in caplog.records if record.exc_info]) == 1
    assert mock.sample("consoul_errors_total", endpoint="/chat", error_type="unhandled_exception") == 1
    assert mock.sample("consoul_requests_in_flight") == 0
