"""The control plane of a real mock, with real workers behind it."""

import json
import os
import signal
import socket
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.integration.mock.conftest import Answer, RedisServer, StartMock, stores, wait_until
from tests.integration.mock.control.conftest import TOKEN, Controlled, StartControlled

SLOW_S = 0.3
SLOW = {"custom": {"total_s": [SLOW_S, SLOW_S], "first_token_share": 0.5, "tokens": [10, 10]}}


@pytest.fixture
def two(start_controlled: StartControlled, redis_server: RedisServer) -> Controlled:
    """A mock with two workers."""
    return start_controlled(CONSOUL_WORKERS="2", CONSOUL_CIRCUIT_BREAKER_ENABLED="false", **stores(redis_server))


def served_by(control: Controlled) -> dict[int, int]:
    """Returns worker → entries in its ledger."""
    return {number: entry["ledger_last"] for number, entry in control.serving().items()}


def chat_on_both(control: Controlled, name: str) -> list[Answer]:
    """Chats until each worker has answered several times; each chat has a connection of its own."""
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(lambda number: control.mock.chat(f"{name}-{number}"), range(48)))


def test_a_change_of_latency_holds_on_every_worker_at_once(two: Controlled) -> None:
    before = chat_on_both(two, "before")
    changed = two("PATCH", "provider", SLOW)
    assert (changed.status, changed.body["revision"], changed.body["confirmed"]) == (200, 1, [0, 1])
    after = chat_on_both(two, "after")
    assert {answer.status for answer in before + after} == {200}
    assert min(answer.duration_s for answer in after) >= SLOW_S
    assert sorted(answer.duration_s for answer in before)[24] < SLOW_S
    assert {number: entry["revision"] for number, entry in two.serving().items()} == {0: 1, 1: 1}
    assert two("DELETE", "provider").status == 200
    back = chat_on_both(two, "back")
    assert sorted(answer.duration_s for answer in back)[24] < SLOW_S


def test_failures_that_are_set_say_so(two: Controlled) -> None:
    assert two("PATCH", "provider", {"failure_ratio": 1, "failure_kind": "rate_limited"}).status == 200
    answers = chat_on_both(two, "failing")
    assert {(answer.status, answer.headers.get("x-mock-fault")) for answer in answers} == {
        (503, "provider-rate-limited")
    }
    assert two("PATCH", "provider", {"failure_ratio": 0}).status == 200
    assert {answer.status for answer in chat_on_both(two, "well")} == {200}


def test_it_works_while_redis_is_frozen(two: Controlled, redis_server: RedisServer) -> None:
    redis_server.signal(signal.SIGSTOP)
    try:
        for method, path, body in (
            ("PATCH", "provider", {"capacity": 120}),
            ("GET", "provider", None),
            ("GET", "ledger", None),
            ("GET", "workers", None),
            ("POST", "breakers/reset", None),
            ("DELETE", "provider", None),
        ):
            answer = two(method, path, body)
            assert answer.status == 200, (method, path, answer.body)
            assert answer.duration_s < 1.5, (method, path)
    finally:
        redis_server.signal(signal.SIGCONT)


@pytest.mark.slow
def test_a_worker_that_was_killed_or_replaced_comes_back_as_the_others_are(two: Controlled) -> None:
    assert two("PATCH", "provider", SLOW).status == 200
    first = {number: entry["pid"] for number, entry in two.serving().items()}
    os.kill(first[0], signal.SIGKILL)
    wait_until(lambda: two.serving().get(0, {}).get("pid", first[0]) != first[0], "worker 0 replaced")
    second = {number: entry["pid"] for number, entry in two.serving().items()}
    assert second[1] == first[1]
    assert {entry["revision"] for entry in two.serving().values()} == {1}
    assert min(answer.duration_s for answer in chat_on_both(two, "killed")) >= SLOW_S

    two.mock.process.send_signal(signal.SIGHUP)
    replaced: Callable[[], bool] = lambda: (  # noqa: E731 - polled
        len(two.workers()) == 2 and not {entry["pid"] for entry in two.serving().values()} & set(second.values())
    )
    wait_until(replaced, "both replaced")
    assert {entry["revision"] for entry in two.serving().values()} == {1}
    assert min(answer.duration_s for answer in chat_on_both(two, "replaced")) >= SLOW_S
    sockets = Path(f"/dev/shm/consoul-metrics-{os.getuid()}-127.0.0.1-{two.mock.metrics_port}").glob("*.sock")
    assert len(list(sockets)) == 2


def test_a_change_reaches_workers_that_are_being_replaced_at_that_moment(two: Controlled) -> None:
    """No change falls between a worker's start and its socket: at every moment one of the two ways works."""
    first = {entry["pid"] for entry in two.serving().values()}
    two.mock.process.send_signal(signal.SIGHUP)
    revision = 0

    def replaced() -> bool:
        nonlocal revision
        answer = two("PATCH", "provider", {"capacity": revision})
        assert answer.status == 200, answer.body
        revision = answer.body["revision"]
        return len(two.serving()) == 2 and not first & {entry["pid"] for entry in two.workers() if "pid" in entry}

    wait_until(replaced, "both replaced")
    print(f"{revision} changes meanwhile")
    assert revision > 5
    assert {entry["revision"] for entry in two.serving().values()} == {revision}


@pytest.mark.slow
def test_a_worker_that_hangs_is_named_and_takes_the_change_when_it_wakes(two: Controlled) -> None:
    pids = {number: entry["pid"] for number, entry in two.serving().items()}
    os.kill(pids[1], signal.SIGSTOP)
    try:
        answer = two("PATCH", "provider", {"profile": "cached"})
        listed = {entry["pid"]: entry["status"] for entry in two.workers()}
    finally:
        os.kill(pids[1], signal.SIGCONT)
    assert (answer.status, answer.body["code"]) == (503, "E130")
    assert f"worker 1 (pid {pids[1]}): no answer within 2 s" in answer.body["message"]
    assert answer.body["details"] == {"silent": [pids[1]], "answered": [pids[0]]}
    assert 2 <= answer.duration_s < 4
    assert listed == {pids[0]: "serving", pids[1]: "silent"}
    assert two("GET", "provider").body["providers"]["openai"]["profile"] == "cached"
    wait_until(lambda: [entry["revision"] for entry in two.serving().values()] == [1, 1], "both take the change")


def test_breakers_close_when_told(start_controlled: StartControlled) -> None:
    control = start_controlled()
    control("PATCH", "provider", {"failure_ratio": 1})
    codes = [control.mock.chat(f"s{number}").body["code"] for number in range(6)]
    assert codes == ["E200"] * 5 + ["E206"]
    assert control.serving()[0]["breakers"] == {"openai": "open", "anthropic": "closed", "ollama": "closed"}
    control("DELETE", "provider")
    assert control.mock.chat("s").body["code"] == "E206"
    assert control("POST", "breakers/reset").body == {"confirmed": [0], "starting": []}
    assert control.mock.chat("s").status == 200
    assert control.mock.sample("consoul_circuit_breaker_state", provider="openai") == 0


def test_it_is_off_unless_asked_for_and_never_on_the_port_of_the_api(
    start_mock: StartMock, start_controlled: StartControlled
) -> None:
    off = Controlled(start_mock())
    assert [off("GET", path).status for path in ("provider", "ledger", "workers", "")] == [404] * 4
    assert off("PATCH", "provider", {"capacity": 1}).body["code"] == "E004"
    assert off.mock.sample("consoul_requests_in_flight") == 0
    on = start_controlled()
    for path in ("/_mock/provider", "/_mock/ledger", "/_mock/workers"):
        answer = on.mock.request("GET", path, headers={"Authorization": f"Bearer {TOKEN}"})
        assert (answer.status, answer.body["code"]) == (404, "E004")


def test_the_token_shows_nowhere(start_controlled: StartControlled) -> None:
    control = start_controlled(CONSOUL_LOG_LEVEL="debug")
    wrong = "wrong-" + TOKEN
    answers = [
        control("GET", "provider"),
        control("GET", "workers"),
        control("GET", "provider", token=wrong),
        control("GET", "provider", token=None),
        control("GET", "provider", None, TOKEN, Origin="http://127.0.0.1"),
        control("PATCH", "provider", {TOKEN: 1}, wrong),
        control("GET", "ledger?limit=0"),
    ]
    assert [answer.status for answer in answers] == [200, 200, 401, 401, 403, 401, 422]
    with urllib.request.urlopen(f"http://127.0.0.1:{control.mock.metrics_port}/metrics", timeout=5) as found:
        shown = [found.read(), control.mock.log.read_bytes()]
    shown += [json.dumps(answer.body).encode() + str(answer.headers).encode() for answer in answers]
    processes = [control.mock.process.pid, *control.mock.worker_pids()]
    for pid in processes:
        shown += [Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ")]
    folder = Path(f"/dev/shm/consoul-metrics-{os.getuid()}-127.0.0.1-{control.mock.metrics_port}")
    shown += [path.read_bytes() for path in folder.iterdir() if path.is_file()]
    assert not [text for text in shown if b"canary" in text]


@pytest.mark.parametrize("content", [None, "short", "has spaces in the middle of it"])
def test_a_mock_without_a_token_it_can_use_does_not_start(
    start_mock: StartMock, tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(AssertionError, match=f"MOCK_CONTROL_TOKEN_FILE: {path}") as caught:
        start_mock(MOCK_CONTROL_ENABLED="true", MOCK_CONTROL_TOKEN_FILE=str(path))
    assert content is None or content not in str(caught.value).replace(str(path), "")
    assert "Traceback" not in str(caught.value)


def test_a_client_that_stops_in_the_middle_of_a_request_does_not_hold_up_others(
    start_controlled: StartControlled,
) -> None:
    control = start_controlled()
    head = f"PATCH /_mock/provider HTTP/1.1\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 100\r\n\r\n{{"
    with socket.create_connection(("127.0.0.1", control.mock.metrics_port)) as half:
        half.sendall(head.encode())
        assert control("PATCH", "provider", {"capacity": 5}).status == 200
        half.shutdown(socket.SHUT_WR)
        answer = half.makefile("rb").read()
    assert b" 400 " in answer.splitlines()[0]
    assert b"E002" in answer
    assert "Traceback" not in control.mock.log.read_text()


def test_a_large_body_is_refused_and_the_answer_arrives(start_controlled: StartControlled) -> None:
    control = start_controlled()
    answer = control("PATCH", "provider", {"profile": "x" * 300_000})
    assert (answer.status, answer.body["code"]) == (413, "E006")
