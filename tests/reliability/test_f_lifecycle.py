"""Group F: how the mock stops, replaces its workers, survives their deaths and starts in any order."""

import asyncio
import contextlib
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import websockets

from tests.integration.mock.conftest import Mock, RedisServer, StartMock, stores, wait_until
from tests.reliability.conftest import Measure
from tests.reliability.keep_alive import KeepAliveClient, Reply
from tests.reliability.slopes import MEBIBYTE
from tests.reliability.soak import MOST_MIB_PER_10_MIN, Soak, plan_of
from tests.reliability.soak_load import build_request

LONG = os.environ.get("LONG") == "1"
FALLBACK = {
    "CONSOUL_REDIS_FALLBACK_ENABLED": "true",
    "CONSOUL_REDIS_RECONNECT_INTERVAL": "1",
    "MOCK_FAST_RECONNECT": "true",
}


def custom(low_s: float, high_s: float) -> dict[str, str]:
    """Variables of a provider that takes between `low_s` and `high_s`."""
    profile = {"total_s": [low_s, high_s], "first_token_share": 1, "tokens": [1, 4]}
    return {"MOCK_PROVIDER_PROFILE": "custom", "MOCK_PROVIDER_CUSTOM": json.dumps(profile)}


async def until(condition, what: str, deadline_s: float = 20.0):  # type: ignore[no-untyped-def]
    return await asyncio.to_thread(wait_until, condition, what, deadline_s)


async def try_chat(client: KeepAliveClient, session_id: str) -> Reply | str:
    """Returns the answer, or the name of what went wrong."""
    try:
        return await client.chat(session_id)
    except (OSError, EOFError) as error:
        return type(error).__name__


async def connect_socket(mock: Mock, session_id: str) -> websockets.ClientConnection:
    return await websockets.connect(f"ws://127.0.0.1:{mock.port}/ws/chat/{session_id}", ping_interval=None)


async def read_to_close(socket: websockets.ClientConnection) -> tuple[list[str], int | None]:
    """Returns the types of all messages, and the close code."""
    kinds = [json.loads(message)["type"] async for message in _messages(socket)]
    return kinds, socket.close_code


async def _messages(socket: websockets.ClientConnection) -> AsyncIterator[str | bytes]:
    with contextlib.suppress(websockets.ConnectionClosed):
        while True:
            yield await socket.recv()


async def read_stream(mock: Mock, session_id: str) -> bytes:
    """Returns all bytes of a streamed answer, up to where the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    writer.write(build_request("/chat/stream", session_id))
    try:
        return await reader.read(-1)
    finally:
        writer.close()


@pytest.mark.slow
async def test_f01_sigterm_with_500_in_flight(
    start_mock: StartMock, redis_server: RedisServer, measure: Measure
) -> None:
    mock = start_mock(**custom(1, 3), HTTPX_MAX_CONNECTIONS="1000", **stores(redis_server))
    idle = KeepAliveClient(mock.port)
    assert (await idle.request("GET", "/health")).status == 200
    resting, talking = [await connect_socket(mock, f"ws-{number}") for number in range(2)]
    await talking.send('{"type":"message","content":"hello"}')
    streaming = asyncio.create_task(read_stream(mock, "sse"))
    running = [asyncio.create_task(try_chat(KeepAliveClient(mock.port), f"s{number}")) for number in range(498)]
    await until(lambda: mock.sample("consoul_requests_in_flight") == 500, "500 in flight")
    started_s = time.monotonic()
    mock.process.terminate()
    await until(lambda: mock.request("GET", "/ready").status == 503, "draining")

    refused = [await client.chat("new") for client in (idle, *(KeepAliveClient(mock.port) for _ in range(5)))]
    for answer in refused:
        assert (answer.status, answer.json()["code"], answer.headers["retry-after"]) == (503, "E121", "1")
        assert answer.is_last
    ready = mock.request("GET", "/ready")
    assert (ready.status, ready.body["checks"]["process"]) == (503, "draining")
    assert mock.request("GET", "/health").status == 200
    with pytest.raises(websockets.InvalidStatus) as denied:
        await connect_socket(mock, "new")
    assert denied.value.response.status_code == 503
    assert await read_to_close(resting) == ([], 1012)

    answers = await asyncio.gather(*running)
    last_s = time.monotonic() - started_s
    dropped = Counter(answer if isinstance(answer, str) else str(answer.status) for answer in answers)
    kinds, code = await read_to_close(talking)
    stream = await streaming
    dropped["200" if stream.startswith(b"HTTP/1.1 200") and b"event: done" in stream else f"stream {stream!r}"] += 1
    dropped["200" if kinds[-1:] == ["done"] and code == 1012 else f"WebSocket {kinds[-1:]} {code}"] += 1
    exit_code = await asyncio.to_thread(mock.process.wait, 30)
    ended_s = time.monotonic() - started_s
    measure(
        "0 of 500 dropped, all end in <= 30 s; new ones get 503 / 1012",
        f"{500 - dropped['200']} dropped, last answer after {last_s:.1f} s, gone {ended_s - last_s:.2f} s later; "
        f"{len(refused)} new ones got 503 E121, WebSockets 1012 and 503",
    )
    assert dict(dropped) == {"200": 500}
    assert all(answer.is_last for answer in answers if isinstance(answer, Reply))
    assert last_s <= 15, "nothing takes more than 3 s, and what rests is not waited for"
    assert ended_s <= 30
    assert ended_s - last_s < 5, "nothing was in flight any more"
    assert exit_code == 0


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_f02_second_sigterm(start_mock: StartMock, measure: Measure, number: signal.Signals) -> None:
    mock = start_mock(**custom(60, 60))
    running = [asyncio.create_task(try_chat(KeepAliveClient(mock.port), f"s{index}")) for index in range(20)]
    await until(lambda: mock.sample("consoul_requests_in_flight") == 20, "20 in flight")
    mock.process.send_signal(number)
    await until(lambda: mock.request("GET", "/ready").status == 503, "the first is at work")
    assert mock.process.poll() is None
    workers = mock.worker_pids()
    started_s = time.monotonic()
    mock.process.send_signal(number)
    assert await asyncio.to_thread(mock.process.wait, 10) == 0
    ended_s = time.monotonic() - started_s
    measure("gone in 1 s", f"gone after {ended_s:.2f} s, 20 requests of 60 s in flight")
    # On a machine that does nothing else it is a quarter of a second; a crowded one gets room. Drained, it were 28 s.
    assert ended_s <= 3
    assert not [pid for pid in workers if Path(f"/proc/{pid}").exists()]
    assert all(isinstance(answer, str) for answer in await asyncio.gather(*running))


async def load_until(mock: Mock, connections: int, count: int, is_done) -> Counter[str]:  # type: ignore[no-untyped-def]
    """Sends at least `count` requests over kept connections until `is_done`; returns how often each outcome came."""
    outcomes: Counter[str] = Counter()
    over = asyncio.Event()

    async def watch() -> None:
        await until(lambda: is_done() and outcomes.total() >= count, "replaced under load", 120)
        over.set()

    async def user(index: int) -> None:
        client = KeepAliveClient(mock.port)
        turn = 0
        while not over.is_set():
            turn += 1
            answer = await try_chat(client, f"load-test-{index}-{turn % 5}")
            outcomes[answer if isinstance(answer, str) else str(answer.status)] += 1
            # Every tenth user thinks for so long that its connection is idle most of the time.
            await asyncio.sleep(1.5 if index % 10 == 9 else 0.01)
        client.close()

    watching = asyncio.create_task(watch())
    try:
        await asyncio.gather(*(user(index) for index in range(connections)))
    finally:
        over.set()
        await watching
    return outcomes


@pytest.mark.slow
async def test_f03_rolling_restart(start_mock: StartMock, redis_server: RedisServer, measure: Measure) -> None:
    found = []
    for workers, connections in ((1, 20), (2, 100), (1, 200)):
        mock = start_mock(CONSOUL_WORKERS=str(workers), **stores(redis_server))
        await until(lambda: len(mock.worker_pids()) == workers and mock.is_ready(), "all workers serve")  # noqa: B023
        first = set(mock.worker_pids())
        started_s = time.monotonic()
        asyncio.get_running_loop().call_later(1.0, mock.process.send_signal, signal.SIGHUP)

        def is_replaced() -> bool:
            pids = set(mock.worker_pids())  # noqa: B023
            return len(pids) == workers and not pids & first  # noqa: B023

        outcomes = await load_until(mock, connections, 10_000, is_replaced)
        took_s = time.monotonic() - started_s
        failed = outcomes.total() - outcomes["200"]
        found.append(
            f"{workers} worker(s), {connections} connections: {failed} of {outcomes.total()}, {took_s:.0f} s"
        )
        assert dict(outcomes) == {"200": outcomes.total()}
        counted = mock.sample("consoul_request_total", endpoint="/chat", method="POST", status="200")
        assert counted == outcomes.total()
        mock.process.terminate()
        await asyncio.to_thread(mock.process.wait, 30)
    measure("0 failed of 10,000", "; ".join(found))


@pytest.mark.slow
async def test_f04_kill_one_of_four_workers(
    start_mock: StartMock, redis_server: RedisServer, measure: Measure
) -> None:
    mock = start_mock(CONSOUL_WORKERS="4", **custom(0.05, 0.1), **stores(redis_server))
    await until(lambda: len(mock.worker_pids()) == 4 and mock.is_ready(), "four workers serve")
    first = mock.worker_pids()
    before = {pid: count_sockets(pid) for pid in first}
    outcomes: Counter[str] = Counter()
    over = asyncio.Event()

    async def user(index: int) -> None:
        client = KeepAliveClient(mock.port)
        # All at once, one worker would accept them all.
        await asyncio.sleep(index * 0.02)
        while not over.is_set():
            answer = await try_chat(client, f"s{index}")
            outcomes[answer if isinstance(answer, str) else str(answer.status)] += 1
        client.close()

    users = [asyncio.create_task(user(index)) for index in range(100)]
    await until(lambda: mock.sample("consoul_requests_in_flight") > 90, "load")
    places = mock.sample("consoul_pool_connections_max", pool="provider")
    connections = {pid: count_sockets(pid) - before[pid] for pid in first}
    victim = max(first, key=lambda pid: connections[pid])
    os.kill(victim, signal.SIGKILL)
    await until(lambda: len(mock.worker_pids()) == 4 and victim not in mock.worker_pids(), "replaced")
    at_least = outcomes["200"] + 1000
    await until(lambda: outcomes["200"] > at_least, "load afterwards")
    over.set()
    await asyncio.gather(*users)
    cut = outcomes.total() - outcomes["200"]
    await until(lambda: mock.sample("consoul_requests_in_flight") == 0, "its live gauges are gone", 5)
    counted = mock.sample("consoul_request_total", endpoint="/chat", method="POST", status="200")
    measure(
        "others unaffected, totals exact, its live gauges gone",
        f"{cut} cut on its {connections[victim]} of {sum(connections.values())} connections, "
        f"counted {counted:.0f} of {outcomes['200']} answered, in flight 0",
    )
    assert set(outcomes) <= {"200", "ConnectionResetError", "IncompleteReadError", "BrokenPipeError"}
    assert 0 < cut <= connections[victim] < 100, "those it had in flight, and there were others"
    assert set(first) - {victim} < set(mock.worker_pids()), "the others live on"
    # What the victim answered in its last instant may have been counted and not have arrived.
    assert outcomes["200"] <= counted <= outcomes["200"] + cut
    await until(lambda: mock.sample("consoul_pool_connections_max", pool="provider") == places, "pools of four", 5)


def count_sockets(pid: int) -> int:
    return sum("socket:" in str(link.readlink()) for link in Path(f"/proc/{pid}/fd").iterdir())


@pytest.mark.slow
@pytest.mark.timeout(2400)
async def test_f07_soak(start_mock: StartMock, redis_server: RedisServer, measure: Measure) -> None:
    mock = start_mock(**stores(redis_server))
    soak = Soak(mock.process.pid, mock.port, mock.metrics_port, plan_of(1800 if LONG else 45))
    trend = await soak.run()
    # Memory settles in the first minutes, in steps of up to 1.3 MiB. The short form sees nothing else, so it allows
    # 4 MiB: 40 bytes an answer, where a leak of 100 bytes an answer has been seen to fail.
    grown = trend.resident_growth_bytes / MEBIBYTE
    slope = trend.resident_slope_mib_per_10_min
    measure(
        "RSS slope <= 1 MB/10 min after warm-up, files and tasks flat",
        f"RSS {grown:+.2f} MiB in {trend.length_s:.0f} s ({slope:+.2f}/10 min), {trend.answers} answers at "
        f"{trend.cpu_ratio:.2f} CPU, files {trend.files_growth:+d}, tasks {trend.tasks_growth:+d}, "
        f"{soak.outcomes.get('503', 0)} x 503" + ("" if LONG else " (short: <= 4 MiB in all)"),
    )
    most = MOST_MIB_PER_10_MIN * (1.0 if LONG else 4 * 600 / trend.length_s)
    assert trend.problems(most) + soak.failures() == []
    assert trend.answers > 1000


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_f08_start_order(start_mock: StartMock, redis_server: RedisServer, measure: Measure) -> None:
    found = {}
    for name, variables in (("required", {}), ("fallback", FALLBACK)):
        mock = start_mock(**stores(redis_server), **variables)
        found[f"{name}, Redis first"] = look(mock)
        redis_server.stop()
        mock = start_mock(**stores(redis_server), **variables)
        found[f"{name}, no Redis"] = look(mock)
        redis_server.start()
        wait_until(lambda: checks(mock) == {"redis"}, "Redis found", 15)  # noqa: B023
        found[f"{name}, server first"] = look(mock)
    right = {
        "required, Redis first": "200 200 redis 200",
        "required, no Redis": "200 503 unavailable 503",
        "required, server first": "200 200 redis 200",
        "fallback, Redis first": "200 200 redis 200",
        "fallback, no Redis": "200 200 degraded 200",
        "fallback, server first": "200 200 redis 200",
    }
    good = sum(found[name] == wanted for name, wanted in right.items())
    measure("live and ready endpoints right in 3 of 3", f"{good // 2} of 3, each with and without fallback")
    assert found == right


def checks(mock: Mock) -> set[str]:
    """Returns what the checks of `/ready` say."""
    return set(mock.request("GET", "/ready").body["checks"].values())


def look(mock: Mock) -> str:
    """Returns the status of `/health` and of `/ready` with its checks, and what a chat got."""
    health, ready = mock.request("GET", "/health"), mock.request("GET", "/ready")
    assert set(ready.body["checks"]) == {"session_store", "rate_limiter"}
    return f"{health.status} {ready.status} {' '.join(sorted(checks(mock)))} {mock.chat('s').status}"
