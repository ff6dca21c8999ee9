"""A whole mock that loses its Redis and finds it again: nothing acknowledged is lost, nothing is there twice."""

import http.client
import json
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.mock.conftest import (
    Answer,
    Mock,
    RedisServer,
    StartMock,
    find_free_port,
    stores,
    wait_until,
)

FAST = {
    "CONSOUL_REDIS_FALLBACK_ENABLED": "true",
    "CONSOUL_REDIS_RECONNECT_INTERVAL": "0.3",
    "MOCK_FAST_RECONNECT": "true",
    "CONSOUL_MAX_HISTORY_MESSAGES": "1000",
}


def history(server: RedisServer, session_id: str) -> list[str]:
    stored = server.client().get(f"consoul:session:{session_id}")
    if stored is None:
        return []
    return [message["content"] for message in json.loads(stored)["messages"] if message["role"] == "user"]


def chat_many(mock: Mock, texts: Sequence[str], sessions: int) -> list[Answer]:
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda text: mock.chat(f"s{int(text) % sessions}", text), texts))


def wait_for_recovery(mock: Mock, times: int = 1) -> None:
    wait_until(
        lambda: mock.sample("consoul_redis_recovered_total") == times and mock.sample("consoul_redis_degraded") == 0,
        "back on Redis",
    )
    assert mock.sample("consoul_redis_sessions_at_risk") == 0


@pytest.mark.slow
@pytest.mark.parametrize("keeps_data", [True, False])
def test_a_killed_redis_costs_no_turn_and_none_is_there_twice(
    start_mock: StartMock, redis_server: RedisServer, keeps_data: bool
) -> None:
    if keeps_data:
        redis_server.stop()
        redis_server.append_only = True
        redis_server.start()
    mock = start_mock(**stores(redis_server), **FAST)
    before = [str(number) for number in range(40)]
    during = [str(number) for number in range(40, 160)]
    after = [str(number) for number in range(160, 200)]
    answers = chat_many(mock, before, 10)
    assert {(answer.status, answer.headers.get("x-degraded")) for answer in answers} == {(200, None)}
    redis_server.stop()
    answers = chat_many(mock, during, 10)
    assert {(answer.status, answer.headers.get("x-degraded")) for answer in answers} == {(200, "redis")}
    assert max(answer.duration_s for answer in answers) < 0.5
    assert mock.sample("consoul_redis_degraded") == 1
    assert mock.sample("consoul_redis_sessions_at_risk") == 10
    ready = mock.request("GET", "/ready")
    assert (ready.status, ready.body["checks"]) == (200, {"session_store": "degraded", "rate_limiter": "degraded"})
    assert "memory" in ready.body["message"]
    wait_until(lambda: mock.sample("consoul_active_sessions") == 10, "sessions in memory counted", deadline_s=3)
    redis_server.start()
    wait_for_recovery(mock)
    answers = chat_many(mock, after, 10)
    assert {(answer.status, answer.headers.get("x-degraded")) for answer in answers} == {(200, None)}
    kept = (before if keeps_data else []) + during + after
    for number in range(10):
        # Calls to one session go out in order of the pool, which eight threads may change by a few places.
        assert sorted(history(redis_server, f"s{number}"), key=int) == [t for t in kept if int(t) % 10 == number]
    assert mock.sample("consoul_sessions_created_total") == (10 if keeps_data else 20)
    log = [json.loads(line)["message"] for line in mock.log.read_text().splitlines()]
    assert sum("Redis is away" in line for line in log) == 1, "one line for both databases of one server"
    assert sum("Redis is back; sessions copied to it from memory: 10" in line for line in log) == 1
    assert "Traceback" not in mock.log.read_text()


def test_a_frozen_redis_costs_a_time_out_until_it_is_known_and_nothing_after(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    mock = start_mock(**stores(redis_server), **FAST)
    assert mock.chat("s", "0").status == 200
    redis_server.signal(signal.SIGSTOP)
    first = [mock.chat("s", str(number)) for number in range(1, 6)]
    rest = [mock.chat("s", str(number)) for number in range(6, 30)]
    assert {answer.status for answer in first + rest} == {200}
    assert {answer.headers["x-degraded"] for answer in rest} == {"redis"}
    # The first turn waits for the limiter and for the session, 0.25 s each; then sessions need no second time-out.
    print("until known to be away:", [round(answer.duration_s, 3) for answer in first])
    print("then at most:", round(max(answer.duration_s for answer in rest), 4))
    assert max(answer.duration_s for answer in first) < 1.0
    assert sorted(answer.duration_s for answer in rest)[len(rest) // 2] < 0.1
    redis_server.signal(signal.SIGCONT)
    wait_for_recovery(mock)
    assert history(redis_server, "s") == [str(number) for number in range(30)]


@pytest.mark.parametrize("limiter", ["true", "false"])
def test_failures_while_memory_stands_in_say_so_once(start_mock: StartMock, limiter: str) -> None:
    nowhere = f"redis://127.0.0.1:{find_free_port()}"
    failing = {"MOCK_PROVIDER_FAILURE_RATIO": "1", "MOCK_PROVIDER_FAILURE_KIND": "rate_limited"}
    mock = start_mock(**FAST, **failing, REDIS_URL=nowhere, CONSOUL_RATE_LIMIT_ENABLED=limiter)
    turn = {"session_id": "s", "message": "m"}
    batch = {"session_id": "s", "messages": [{"role": "user", "content": "m"}] * 2}
    connection = http.client.HTTPConnection("127.0.0.1", mock.port, timeout=5)
    for path, body, status in (
        ("/chat", turn, 503),
        ("/chat/stream", turn, 200),
        ("/chat/batch", batch, 200),
        ("/chat/batch", {**batch, "sequential": False}, 200),
    ):
        connection.request("POST", path, json.dumps(body))
        answer = connection.getresponse()
        assert b'"E205"' in answer.read()
        assert (answer.status, answer.headers.get_all("x-degraded")) == (status, ["redis"])
    connection.close()


def test_f08_starts_degraded_while_redis_is_away(start_mock: StartMock, redis_server: RedisServer) -> None:
    redis_server.stop()
    mock = start_mock(**stores(redis_server), **FAST)
    assert mock.sample("consoul_redis_degraded") == 1
    assert mock.is_ready()
    answer = mock.chat("s", "0")
    assert (answer.status, answer.headers["x-degraded"]) == (200, "redis")
    redis_server.start()
    wait_for_recovery(mock)
    assert history(redis_server, "s") == ["0"]


def test_a_wrong_password_starts_degraded_with_one_line_that_does_not_show_it(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    redis_server.client().config_set("requirepass", "right-canary")
    url = redis_server.url().replace("//", "//:wrong-canary@")
    mock = start_mock(REDIS_URL=url, **FAST)
    assert mock.chat("s", "0").headers["x-degraded"] == "redis"
    wait_until(lambda: mock.sample("consoul_active_sessions") == 1, "a sample while away", deadline_s=5)
    text = mock.log.read_text()
    away = [line for line in text.splitlines() if "Redis" in line]
    assert len(away) == 1
    assert "(WRONGPASS)" in away[0]
    assert "canary" not in text


def test_a_server_that_refuses_writes_and_answers_reads_is_away(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    mock = start_mock(**stores(redis_server), **FAST)
    assert mock.chat("s", "0").status == 200
    # A replica of nobody: it answers GET and PING, and refuses every write.
    redis_server.client().config_set("replica-read-only", "yes")
    redis_server.client().config_set("replica-serve-stale-data", "yes")
    redis_server.client().replicaof("127.0.0.1", 1)
    answers = [mock.chat("s", str(number)) for number in range(1, 20)]
    assert {(answer.status, answer.headers.get("x-degraded")) for answer in answers} == {(200, "redis")}
    wait_until(lambda: mock.sample("consoul_redis_degraded") == 1, "known to be away", deadline_s=5)
    refused = redis_server.refusals("set")
    wait_until(lambda: redis_server.refusals("set") >= refused + 6, "three probes of each database", deadline_s=10)
    assert mock.sample("consoul_redis_recovered_total") == 0
    redis_server.client().replicaof("NO", "ONE")
    wait_for_recovery(mock)
    assert history(redis_server, "s") == [str(number) for number in range(20)]


def test_a12_a_full_redis_is_saturated_and_not_away(start_mock: StartMock, redis_server: RedisServer) -> None:
    with redis_server.client() as client:
        client.ping()
        client.config_set("maxclients", 1)
        mock = start_mock(**stores(redis_server), **FAST)
        for _ in range(8):
            answer = mock.chat("s", "0")
            assert (answer.status, answer.body["code"]) == (503, "E111")
        assert mock.sample("consoul_redis_degraded") == 0
        client.config_set("maxclients", 100)
    assert mock.chat("s", "0").headers.get("x-degraded") is None


def test_c09_two_workers_admit_no_more_than_the_limit_between_them(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    redis_server.stop()
    mock = start_mock(CONSOUL_WORKERS="2", CONSOUL_DEFAULT_LIMITS="40/hour", **stores(redis_server), **FAST)
    wait_until(lambda: mock.log.read_text().count("Redis is away") == 4, "two workers miss two databases")
    statuses = [answer.status for answer in chat_many(mock, [str(number) for number in range(200)], 200)]
    print("admitted by two workers:", statuses.count(200))
    # Each connection goes to whichever worker takes it: one that gets few admits fewer than its twenty.
    assert 20 <= statuses.count(200) <= 40
    assert set(statuses) == {200, 429}
    redis_server.start()
    wait_for_recovery(mock, times=2)
    assert mock.chat("after", "1").status == 200, "nobody pays twice"


def test_a_mock_that_ends_copies_back_first(start_mock: StartMock, redis_server: RedisServer) -> None:
    slow = FAST | {"CONSOUL_REDIS_RECONNECT_INTERVAL": "3600"}
    mock = start_mock(**stores(redis_server), **slow)
    redis_server.stop()
    chat_many(mock, [str(number) for number in range(30)], 3)
    redis_server.start()
    assert history(redis_server, "s0") == []
    mock.process.terminate()
    assert mock.process.wait(timeout=15) == 0
    assert sorted(history(redis_server, "s0"), key=int) == [str(number) for number in range(0, 30, 3)]


def test_a_mock_that_ends_without_redis_says_what_is_lost(start_mock: StartMock, redis_server: RedisServer) -> None:
    mock = start_mock(**stores(redis_server), **FAST)
    redis_server.stop()
    chat_many(mock, [str(number) for number in range(30)], 3)
    mock.process.terminate()
    assert mock.process.wait(timeout=15) == 0
    assert "sessions with turns that are lost: 3" in mock.log.read_text()


def test_without_fallback_calls_fail_at_once_and_the_mock_is_back_within_two_seconds(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    mock = start_mock(**stores(redis_server))
    assert mock.chat("s").status == 200
    redis_server.signal(signal.SIGSTOP)
    answers = [mock.chat("s") for _ in range(30)]
    assert {(answer.status, answer.body["code"]) for answer in answers} == {(503, "E110")}
    assert sorted(answer.duration_s for answer in answers)[15] < 0.1, "no time-out once it is known"
    ready = mock.request("GET", "/ready")
    assert (ready.status, ready.body["status"]) == (503, "not_ready")
    assert "CONSOUL_REDIS_FALLBACK_ENABLED" in ready.body["message"]
    redis_server.signal(signal.SIGCONT)
    wait_until(lambda: mock.chat("s").status == 200, "back", deadline_s=5)
    assert mock.sample("consoul_redis_degraded") == 0
