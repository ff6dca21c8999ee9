"""How the parent of the workers treats signals, and workers that hang or die."""

import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.integration.mock.conftest import Mock, RedisServer, StartMock, stores, wait_until

SLOW = '{"total_s": [60, 60], "first_token_share": 1, "tokens": [1, 1]}'


def try_chat(mock: Mock, number: int) -> str:
    try:
        return str(mock.chat(f"s{number}").status)
    except OSError:
        return "cut"


def test_f02_a_second_sigterm_does_not_wait(start_mock: StartMock) -> None:
    mock = start_mock(MOCK_PROVIDER_PROFILE="custom", MOCK_PROVIDER_CUSTOM=SLOW)
    with ThreadPoolExecutor(3) as pool:
        running = [pool.submit(try_chat, mock, number) for number in range(3)]
        wait_until(lambda: mock.sample("consoul_requests_in_flight") == 3, "three in flight")
        mock.process.terminate()
        wait_until(lambda: not mock.is_ready(), "the first is at work")
        assert mock.process.poll() is None
        mock.process.terminate()
        started_s = time.monotonic()
        assert mock.process.wait(timeout=10) == 0
        print(f"gone {time.monotonic() - started_s:.2f} s after the second")
        assert [future.result() for future in running] == ["cut"] * 3
    assert not list(Path("/dev/shm").glob(f"consoul-metrics-*-{mock.metrics_port}"))


def test_f03_sighup_replaces_the_workers_and_each_is_still_one_of_ours(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    mock = start_mock(CONSOUL_WORKERS="2", **stores(redis_server))
    wait_until(lambda: len(mock.worker_pids()) == 2 and mock.is_ready(), "both workers serve")
    first = mock.worker_pids()
    assert {mock.chat(f"s{number}").status for number in range(40)} == {200}
    wait_until(lambda: mock.sample("consoul_pool_connections_max", pool="provider") == 200, "pools of both")
    mock.process.send_signal(signal.SIGHUP)
    mock.process.send_signal(signal.SIGTTIN)

    def are_replaced() -> bool:
        return len(mock.worker_pids()) == 2 and not set(mock.worker_pids()) & set(first) and mock.is_ready()

    wait_until(are_replaced, "both workers replaced")
    assert {mock.chat(f"s{number}").status for number in range(40)} == {200}
    assert mock.sample("consoul_request_total", endpoint="/chat", method="POST", status="200") == 80
    wait_until(lambda: mock.sample("consoul_pool_connections_max", pool="provider") == 200, "no gauge of the old")
    assert {labels for name, labels in mock.scrape() if name == "consoul_process_open_fds"} == {
        (("worker", "0"),),
        (("worker", "1"),),
    }
    second = mock.worker_pids()
    mock.process.kill()
    mock.process.wait()
    wait_until(lambda: not [pid for pid in second if runs(pid)], "workers gone with their parent", deadline_s=10)


def runs(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
