"""The whole mock as processes: workers, metrics, faults of Redis, ports, ends."""

import json
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.mock.conftest import ROOT, Mock, RedisServer, StartMock, find_free_port, stores, wait_until


def chat_many(mock: Mock, count: int, sessions: int) -> list[int]:
    with ThreadPoolExecutor(16) as pool:
        return list(
            pool.map(lambda number: mock.chat(f"load-test-{number % sessions}", str(number)).status, range(count))
        )


def test_two_workers_lose_no_turn_and_count_every_request(start_mock: StartMock, redis_server: RedisServer) -> None:
    mock = start_mock(CONSOUL_WORKERS="2", CONSOUL_MAX_HISTORY_MESSAGES="1000", **stores(redis_server))
    assert set(chat_many(mock, 300, 3)) == {200}
    for number in range(3):
        stored = json.loads(redis_server.client().get(f"consoul:session:load-test-{number}") or b"")
        asked = [message["content"] for message in stored["messages"] if message["role"] == "user"]
        assert sorted(asked, key=int) == [str(turn) for turn in range(number, 300, 3)]
    assert mock.sample("consoul_request_total", endpoint="/chat", method="POST", status="200") == 300
    assert mock.sample("consoul_request_latency_seconds_count", endpoint="/chat", method="POST") == 300
    assert mock.sample("consoul_sessions_created_total") == 3
    assert mock.sample("consoul_rate_limit_decisions_total", tier="default", decision="allowed") == 300
    assert mock.sample("consoul_requests_in_flight") == 0
    wait_until(lambda: mock.sample("consoul_active_sessions") == 3, "sessions counted", deadline_s=5)
    assert mock.scrape("/any/path") is not None
    assert mock.sample("consoul_process_open_fds", worker="1") > 0


def test_limit_holds_over_all_workers(start_mock: StartMock, redis_server: RedisServer) -> None:
    mock = start_mock(CONSOUL_WORKERS="2", CONSOUL_DEFAULT_LIMITS="40/hour", **stores(redis_server))
    statuses = chat_many(mock, 120, 120)
    assert (statuses.count(200), statuses.count(429)) == (40, 80)


def test_f04_killed_worker_is_replaced_and_totals_stay_exact(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    mock = start_mock(
        CONSOUL_WORKERS="2",
        MOCK_PROVIDER_PROFILE="custom",
        MOCK_PROVIDER_CUSTOM='{"total_s": [60, 60], "first_token_share": 1, "tokens": [1, 1]}',
        **stores(redis_server),
    )
    wait_until(lambda: len(mock.worker_pids()) == 2 and mock.is_ready(), "both workers serve")
    statuses = [mock.request("GET", "/health").status for _ in range(50)]
    assert set(statuses) == {200}
    counted = mock.sample("consoul_request_total", endpoint="/health", method="GET", status="200")
    with ThreadPoolExecutor(8) as pool:
        hanging = [pool.submit(_try_chat, mock, number) for number in range(8)]
        wait_until(lambda: mock.sample("consoul_requests_in_flight") == 8, "eight in flight")
        victims = mock.worker_pids()
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        assert {future.result() for future in hanging} == {"cut"}
    wait_until(lambda: len(set(mock.worker_pids()) - set(victims)) == 2 and mock.is_ready(), "workers replaced")
    wait_until(lambda: mock.sample("consoul_requests_in_flight") == 0, "gauges of the dead forgotten", deadline_s=5)
    now = mock.sample("consoul_request_total", endpoint="/health", method="GET", status="200")
    assert now == counted
    assert mock.request("GET", "/health").status == 200
    assert mock.sample("consoul_request_total", endpoint="/health", method="GET", status="200") == counted + 1


def _try_chat(mock: Mock, number: int) -> str:
    try:
        return str(mock.chat(f"s{number}").status)
    except OSError:
        return "cut"


def test_frozen_redis_is_503_soon_and_health_stays(start_mock: StartMock, redis_server: RedisServer) -> None:
    mock = start_mock(**stores(redis_server))
    assert mock.chat("s").status == 200
    redis_server.signal(signal.SIGSTOP)
    for _ in range(3):
        answer = mock.chat("s")
        assert (answer.status, answer.body["code"], answer.headers["retry-after"]) == (503, "E110", "1")
        assert answer.body["error"] == "session_storage_unavailable"
        print(f"503 after {answer.duration_s:.3f} s")
    ready = mock.request("GET", "/ready")
    assert (ready.status, ready.body["status"]) == (503, "not_ready")
    assert set(ready.body["checks"].values()) == {"unavailable"}
    assert mock.request("GET", "/health").status == 200
    redis_server.signal(signal.SIGCONT)
    wait_until(mock.is_ready, "ready again")
    assert mock.chat("s").status == 200


def test_f08_starts_while_redis_is_away_and_finds_it(start_mock: StartMock, redis_server: RedisServer) -> None:
    redis_server.stop()
    mock = start_mock(**stores(redis_server))
    assert mock.chat("s").status == 503
    assert mock.request("GET", "/ready").status == 503
    redis_server.start()
    wait_until(mock.is_ready, "ready")
    assert mock.chat("s").status == 200
    redis_server.client().script_flush()
    assert mock.chat("s").status == 200
    log = [json.loads(line) for line in mock.log.read_text().splitlines()]
    assert sum("away" in record["message"] for record in log) == 2, "one line for each of the two databases"


def test_port_taken_is_exit_1_naming_port_and_owner() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        names = ("CONSOUL_PORT", "CONSOUL_OBSERVABILITY_METRICS_PORT")
        for variable, other in (names, names[::-1]):
            done = run_mock({variable: str(port), other: str(find_free_port())})
            assert done.returncode == 1
            (line,) = done.stderr.splitlines()
            assert f"port {port} " in line
            assert f"(pid {os.getpid()})" in line
            assert variable in line


def test_bad_settings_are_exit_2_with_a_line_each() -> None:
    done = run_mock({"CONSOUL_PRT": "1", "CONSOUL_WORKERS": "0"})
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert "Traceback" not in done.stderr


def run_mock(variables: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    env = {"PATH": os.environ["PATH"], **variables}
    command = [sys.executable, "-m", "mock_server", "consoul"]
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=30, check=False)


def test_sigterm_finishes_what_is_in_flight_and_leaves_nothing(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    mock = start_mock(
        MOCK_PROVIDER_PROFILE="custom",
        MOCK_PROVIDER_CUSTOM='{"total_s": [1, 1], "first_token_share": 1, "tokens": [1, 1]}',
        **stores(redis_server),
    )
    workers = mock.worker_pids()
    with ThreadPoolExecutor(5) as pool:
        running = [pool.submit(_try_chat, mock, number) for number in range(5)]
        wait_until(lambda: mock.sample("consoul_requests_in_flight") == 5, "five in flight")
        mock.process.terminate()
        assert [future.result() for future in running] == ["200"] * 5
    assert mock.process.wait(timeout=15) == 0
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert not list(Path("/dev/shm").glob(f"consoul-metrics-*-{mock.metrics_port}"))


def test_workers_end_when_their_parent_is_killed(start_mock: StartMock, redis_server: RedisServer) -> None:
    mock = start_mock(CONSOUL_WORKERS="2", **stores(redis_server))
    workers = wait_until(lambda: mock.worker_pids() if len(mock.worker_pids()) == 2 else None, "two workers")
    wait_until(mock.is_ready, "ready")
    mock.process.kill()
    mock.process.wait()
    wait_until(lambda: not [pid for pid in workers if _runs(pid)], "workers gone", deadline_s=10)


def _runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_bytes_that_are_not_http_get_the_one_shape(start_mock: StartMock) -> None:
    mock = start_mock()
    with socket.create_connection(("127.0.0.1", mock.port), timeout=5) as sock:
        sock.sendall(b"\x16\x03\x01garbage\r\n\r\n")
        text = b"".join(iter(lambda: sock.recv(4096), b""))
    head, _, body = text.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400")
    assert set(json.loads(body)) == {"code", "error", "message", "recoverable", "retry_after", "details", "timestamp"}
    assert "Traceback" not in mock.log.read_text()


def test_e02_a_body_somewhat_too_large_is_told_so_even_to_a_client_that_sends_first(start_mock: StartMock) -> None:
    mock = start_mock(CONSOUL_MAX_BODY_SIZE="1048576")
    for _ in range(10):
        answer = mock.request("POST", "/chat", "x" * 1_100_000)
        assert (answer.status, answer.body["code"]) == (413, "E006")


def test_a_request_for_an_upgrade_is_answered_without_one_and_without_a_word_in_the_log(
    start_mock: StartMock,
) -> None:
    mock = start_mock()
    answer = mock.request("GET", "/health", headers={"Connection": "Upgrade", "Upgrade": "h2c"})
    assert answer.status == 200
    assert "pgrade" not in mock.log.read_text()
