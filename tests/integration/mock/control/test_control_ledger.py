"""The ledger of a real mock against what its clients see."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.integration.mock.conftest import RedisServer, stores, wait_until
from tests.integration.mock.control.conftest import Controlled, StartControlled

CUSTOM = {"custom": {"total_s": [0.1, 0.4], "first_token_share": 0.25, "tokens": [5, 15]}}
# How much later than drawn a client may see an answer on a busy machine; never earlier.
LATE_S = 0.25
TRIES = 12


def entries_of(control: Controlled, query: str) -> list[dict[str, Any]]:
    answer = control("GET", f"ledger?{query}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.body["entries"]
    return found


def total_s(entry: dict[str, Any]) -> float:
    return float(entry["first_token_s"] + entry["between_tokens_s"] * (entry["tokens"] - 1))


@pytest.mark.slow
def test_an_entry_says_the_latency_that_the_client_measured(start_controlled: StartControlled) -> None:
    control = start_controlled()
    control("PATCH", "provider", CUSTOM)
    late_s = []
    for number in range(TRIES):
        sent_s = time.time()
        answer = control.mock.request(
            "POST", "/chat", {"session_id": f"s{number}", "message": "m"}, {"X-Request-ID": f"known-{number}"}
        )
        assert (answer.status, answer.headers["x-request-id"]) == (200, f"known-{number}")
        (entry,) = entries_of(control, f"request_id=known-{number}")
        assert entry["number"] == number + 1
        assert (entry["transport"], entry["provider"], entry["model"]) == ("http", "openai", "gpt-4")
        assert (entry["fault"], entry["outcome"]) == (None, "completed")
        assert entry["tokens"] == answer.body["usage"]["output_tokens"] == len(answer.body["response"].split())
        assert 0.1 <= total_s(entry) <= 0.4
        assert entry["first_token_s"] == pytest.approx(0.25 * total_s(entry))
        assert 0 <= entry["waited_s"] < LATE_S
        assert total_s(entry) + entry["waited_s"] <= entry["sent_s"][0][0] + 0.002 <= answer.duration_s + 0.002
        assert [count for _, count in entry["sent_s"]] == [entry["tokens"]]
        assert sent_s <= entry["started_s"] <= sent_s + answer.duration_s
        late_s.append(answer.duration_s - entry["waited_s"] - total_s(entry))
    print(f"measured - drawn: {min(late_s) * 1e3:.2f} to {max(late_s) * 1e3:.2f} ms over {TRIES} requests")
    assert min(late_s) >= 0
    assert sorted(late_s)[TRIES // 2] < LATE_S


@pytest.mark.slow
def test_the_times_of_a_stream_are_those_at_which_its_client_got_the_tokens(
    start_controlled: StartControlled,
) -> None:
    control = start_controlled()
    control("PATCH", "provider", CUSTOM)
    seen_s: list[float] = []
    url = f"ws://127.0.0.1:{control.mock.port}/ws/chat/stream"
    with connect(url, additional_headers={"X-Request-ID": "stream"}) as client:
        sent_s = time.monotonic()
        client.send(json.dumps({"type": "message", "content": "m"}))
        while (message := json.loads(client.recv(timeout=10)))["type"] != "done":
            assert message["type"] == "token"
            seen_s.append(time.monotonic() - sent_s)
    (entry,) = entries_of(control, "transport=websocket")
    assert entry["request_id"] == "stream-1"
    assert entry["outcome"] == "completed"
    told_s = [at_s for at_s, count in entry["sent_s"] for _ in range(count)]
    assert len(told_s) == entry["tokens"] == len(seen_s)
    due_s = [
        entry["waited_s"] + entry["first_token_s"] + index * entry["between_tokens_s"] for index in range(len(told_s))
    ]
    # A timer may fire up to a millisecond early.
    assert min(told - due for told, due in zip(told_s, due_s, strict=True)) > -0.002
    late_s = sorted(seen - told for seen, told in zip(seen_s, told_s, strict=True))
    print(f"seen - told: {late_s[0] * 1e3:.2f} to {late_s[-1] * 1e3:.2f} ms over {len(late_s)} tokens")
    assert late_s[0] > -0.001
    assert late_s[len(late_s) // 2] < LATE_S


@pytest.mark.slow
def test_a_failure_that_was_drawn_is_that_of_the_answer(start_controlled: StartControlled) -> None:
    control = start_controlled(CONSOUL_CIRCUIT_BREAKER_ENABLED="false", OPENAI_TIMEOUT="0.1")
    for kind in ("error", "rate_limited", "timeout"):
        control("PATCH", "provider", {"failure_ratio": 0.5, "failure_kind": kind})
        control("DELETE", "ledger")
        answers = {f"{kind}-{number}": control.mock.request(
            "POST", "/chat", {"session_id": f"s{number}", "message": "m"}, {"X-Request-ID": f"{kind}-{number}"}
        ) for number in range(20)}  # fmt: skip
        entries = {entry["request_id"]: entry for entry in entries_of(control, "")}
        assert entries.keys() == answers.keys()
        assert {entry["fault"] for entry in entries.values()} == {None, f"provider-{kind.replace('_', '-')}"}
        for request_id, answer in answers.items():
            entry = entries[request_id]
            assert answer.headers.get("x-mock-fault") == entry["fault"]
            assert entry["outcome"] == ("completed" if answer.status == 200 else "failed")


@pytest.mark.slow
def test_every_call_of_both_workers_is_there_once_and_refusals_are_not(
    start_controlled: StartControlled, redis_server: RedisServer
) -> None:
    control = start_controlled(CONSOUL_WORKERS="2", **stores(redis_server))

    def chat(number: int) -> str:
        headers = {"X-Request-ID": f"r{number}"}
        body = {"session_id": f"s{number}", "message": "m" if number % 10 else ""}
        assert control.mock.request("POST", "/chat", body, headers).status == (200 if number % 10 else 422)
        return f"r{number}"

    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(chat, range(200)))
    found = []
    after, is_complete = "", False
    while not is_complete:
        page = control("GET", f"ledger?limit=37&after={after}").body
        found += page["entries"]
        after, is_complete = page["next"], page["is_complete"]
        assert [ring["missed"] for ring in page["rings"]] == [0, 0]
    assert sorted(entry["request_id"] for entry in found) == sorted(
        set(asked) - {f"r{tens}" for tens in range(0, 200, 10)}
    )
    assert {entry["worker"] for entry in found} == {0, 1}
    assert len({(entry["pid"], entry["number"]) for entry in found}) == 180
    whole = entries_of(control, "limit=10000")
    assert [entry["started_s"] for entry in whole] == sorted(entry["started_s"] for entry in whole)
    assert control("GET", f"ledger?after={after}").body["entries"] == []


@pytest.mark.slow
def test_the_ring_is_bounded_and_says_what_it_lost(start_controlled: StartControlled) -> None:
    control = start_controlled(MOCK_LEDGER_SIZE="5")
    assert {control.mock.chat(f"s{number}").status for number in range(12)} == {200}
    answer = control("GET", "ledger").body
    (ring,) = answer["rings"]
    assert [entry["number"] for entry in answer["entries"]] == [8, 9, 10, 11, 12]
    assert {name: ring[name] for name in ("first", "last", "capacity", "missed")} == {
        "first": 8,
        "last": 12,
        "capacity": 5,
        "missed": 7,
    }
    again = control("GET", f"ledger?after={ring['pid']}:9").body
    assert ([entry["number"] for entry in again["entries"]], again["rings"][0]["missed"]) == ([10, 11, 12], 0)
    assert control("DELETE", "ledger").body == {"confirmed": [0], "starting": []}
    control.mock.chat("s")
    assert [entry["number"] for entry in entries_of(control, "")] == [13]


@pytest.mark.slow
def test_a_call_that_runs_has_no_outcome_yet_and_one_that_was_left_is_cancelled(
    start_controlled: StartControlled,
) -> None:
    control = start_controlled()
    control("PATCH", "provider", {"custom": {"total_s": [30, 30], "first_token_share": 0.001, "tokens": [100, 100]}})
    with connect(f"ws://127.0.0.1:{control.mock.port}/ws/chat/left") as client:
        client.send(json.dumps({"type": "message", "content": "m"}))
        assert json.loads(client.recv(timeout=10))["type"] == "token"
        (entry,) = entries_of(control, "")
        assert (entry["outcome"], entry["sent_s"][0][1]) == (None, 1)
    wait_until(lambda: entries_of(control, "")[0]["outcome"] == "cancelled", "the call is cancelled")


@pytest.mark.slow
def test_what_a_dead_worker_held_is_gone_and_the_others_is_not(
    start_controlled: StartControlled, redis_server: RedisServer
) -> None:
    control = start_controlled(CONSOUL_WORKERS="2", **stores(redis_server))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: control.mock.chat(f"s{number}"), range(48)))
    before = control("GET", "ledger").body
    held = {ring["worker"]: (ring["pid"], ring["last"]) for ring in before["rings"]}
    assert held[0][1] + held[1][1] == 48
    os.kill(held[0][0], signal.SIGKILL)
    wait_until(lambda: control.serving().get(0, {}).get("pid", held[0][0]) != held[0][0], "worker 0 replaced")
    after = control("GET", f"ledger?after={before['next']}").body
    assert after["entries"] == []
    assert {ring["worker"]: (ring["last"], ring["missed"]) for ring in after["rings"]} == {
        0: (0, 0),
        1: (held[1][1], 0),
    }
