"""A whole mock that loses its Redis and finds it again: nothing acknowledged is lost, nothing is there twice."""

import json
import signal
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.integration.mock.conftest import Answer, Mock, RedisServer, StartMock, stores, wait_until

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
    assert sum("Redis is away" in line for line in log) == 2, "one line for each database"
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
    print("first", [round(answer.duration_s, 3) for answer in first])
    print("rest", round(max(answer.duration_s for answer in rest), 4))
    redis_server.signal(signal.SIGCONT)
    wait_for_recovery(mock)
    assert history(redis_server, "s") == [str(number) for number in range(30)]


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
