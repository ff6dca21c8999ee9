"""Streams over real sockets: order, pace, failures, clients that leave or do not read."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.integration.mock.conftest import Mock, RedisServer, StartMock, stores, wait_until

# First token after 0.12 s, then one each 0.06 s: 0.6 s in all.
PACED = {
    "MOCK_PROVIDER_PROFILE": "custom",
    "MOCK_PROVIDER_CUSTOM": '{"total_s": [0.6, 0.6], "first_token_share": 0.2, "tokens": [9, 9]}',
}
# Never ends while a test runs.
ENDLESS = {
    "MOCK_PROVIDER_PROFILE": "custom",
    "MOCK_PROVIDER_CUSTOM": '{"total_s": [600, 600], "first_token_share": 0, "tokens": [4000, 4000]}',
    "OPENAI_TIMEOUT": "3000",
}
HURRIED = {
    "MOCK_PROVIDER_PROFILE": "custom",
    "MOCK_PROVIDER_CUSTOM": '{"total_s": [0, 0], "first_token_share": 0, "tokens": [4096, 4096]}',
}


def build_request(mock: Mock, session_id: str) -> bytes:
    body = json.dumps({"session_id": session_id, "message": "hello"}).encode()
    head = (
        f"POST /chat/stream HTTP/1.1\r\nHost: 127.0.0.1:{mock.port}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def read_events(mock: Mock, session_id: str) -> AsyncIterator[tuple[float, str, Any]]:
    """Yields (seconds since the request, name, data) of each event."""
    reader, writer = await asyncio.open_connection("127.0.0.1", mock.port)
    writer.write(build_request(mock, session_id))
    started_s = time.monotonic()
    try:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        assert b"content-type: text/event-stream\r\n" in head
        name = ""
        while line := await asyncio.wait_for(reader.readline(), 20):
            if line.startswith(b"event: "):
                name = line[7:].strip().decode()
            elif line.startswith(b"data: "):
                yield time.monotonic() - started_s, name, json.loads(line[6:])
            elif line == b"0\r\n":
                return
    finally:
        writer.close()


async def collect(mock: Mock, session_id: str) -> list[tuple[float, str, Any]]:
    return [event async for event in read_events(mock, session_id)]


def connections(mock: Mock) -> int:
    return int(mock.request("GET", "/health").body["connections"])


def is_idle(mock: Mock) -> bool:
    return connections(mock) == 0 and mock.sample("consoul_pool_connections_in_use", pool="provider") == 0


async def test_tokens_come_in_order_at_their_pace_and_the_turn_is_saved(
    start_mock: StartMock, redis_server: RedisServer
) -> None:
    mock = await asyncio.to_thread(start_mock, **PACED, **stores(redis_server))
    streams = await asyncio.gather(*(collect(mock, f"s{number}") for number in range(5)))
    for events in streams:
        assert [name for _, name, _ in events] == ["token"] * 9 + ["done"]
        text = "".join(data["text"] for _, name, data in events if name == "token")
        stored = json.loads(redis_server.client().get(f"consoul:session:{events[-1][2]['session_id']}") or b"")
        assert stored["messages"][-1] == {"role": "assistant", "content": text}
        for index, (at_s, _, _) in enumerate(events[:-1]):
            # Never early; late by no more than a busy machine explains.
            assert 0.12 + 0.06 * index - 0.002 <= at_s <= 0.12 + 0.06 * index + 0.5
    assert mock.sample("consoul_time_to_first_token_seconds_count", transport="sse") == 5
    assert mock.sample("consoul_inter_token_latency_seconds_count", transport="sse") == 5 * 8
    assert mock.sample("consoul_inter_token_latency_seconds_sum", transport="sse") == pytest.approx(5 * 0.48, rel=0.5)


async def test_truncated_streams_end_in_an_error_and_open_the_breaker(start_mock: StartMock) -> None:
    mock = await asyncio.to_thread(
        start_mock,
        MOCK_PROVIDER_FAILURE_RATIO="1",
        MOCK_PROVIDER_FAILURE_KIND="truncated",
    )
    for number in range(5):
        *tokens, (_, name, data) = await collect(mock, f"s{number}")
        assert 1 <= len(tokens) < 24
        assert {name for _, name, _ in tokens} == {"token"}
        assert (name, data["code"]) == ("error", "E209")
    ((_, name, data),) = await collect(mock, "s9")
    assert (name, data["code"]) == ("error", "E206")
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == 2
    assert mock.sample("consoul_active_sessions") == 0


async def test_fifty_clients_that_leave_free_everything(start_mock: StartMock, redis_server: RedisServer) -> None:
    mock = await asyncio.to_thread(start_mock, HTTPX_MAX_CONNECTIONS="50", **ENDLESS, **stores(redis_server))

    async def leave_after_a_token(number: int) -> None:
        events = read_events(mock, f"s{number}")
        async for _, name, _ in events:
            assert name == "token"
            break
        await events.aclose()  # type: ignore[attr-defined]

    await asyncio.gather(*(leave_after_a_token(number) for number in range(50)))
    await asyncio.to_thread(wait_until, lambda: is_idle(mock), "everything freed", 10)
    # The pool has all its places, and every session its turnstile: fifty more run at once, on the same sessions.
    await asyncio.gather(*(leave_after_a_token(number) for number in range(50)))
    await asyncio.to_thread(wait_until, lambda: is_idle(mock), "everything freed again", 10)
    assert mock.sample("consoul_requests_in_flight") == 0
    assert mock.sample("consoul_request_total", endpoint="/chat/stream", method="POST", status="200") == 100
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == 0
    assert redis_server.client().keys("consoul:session:s*") == []
    assert "Traceback" not in mock.log.read_text()
    assert "ERROR" not in mock.log.read_text().upper()


@pytest.mark.slow
@pytest.mark.parametrize("is_pipelined", [False, True])
def test_a_client_that_does_not_read_is_cut_off(start_mock: StartMock, is_pipelined: bool) -> None:
    mock = start_mock(CONSOUL_WS_SEND_TIMEOUT="0.3", **HURRIED)

    def sample_cuts() -> float:
        return mock.sample("consoul_slow_client_disconnects_total", reason="send_timeout")

    def sample_ends() -> float:
        return mock.sample("consoul_request_total", endpoint="/chat/stream", method="POST", status="200")

    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", mock.port))
        # The buffers of the kernel hold a few answers of 155 KB each.
        for number in range(1, 61):
            client.sendall(build_request(mock, f"s{number}"))
            if not is_pipelined:
                wait_until(lambda sent=number: sample_ends() == sent, "ended, well or not")  # type: ignore[misc]
                if sample_cuts():
                    break
        wait_until(lambda: sample_cuts() == 1, "cut off")
        wait_until(lambda: is_idle(mock), "everything freed", 5)
        assert len(asyncio.run(collect(mock, "fast"))) == 4097
    assert "Traceback" not in mock.log.read_text()
    assert "ERROR" not in mock.log.read_text().upper()


def test_a_batch_with_a_failing_message_saves_the_others(start_mock: StartMock, redis_server: RedisServer) -> None:
    mock = start_mock(
        MOCK_PROVIDER_FAILURE_RATIO="0.3",
        MOCK_PROVIDER_FAILURE_KIND="error",
        MOCK_SEED="7",
        **stores(redis_server),
    )
    messages = [{"role": "user", "content": f"message {number}"} for number in range(10)]
    for session_id, sequential in (("in-order", True), ("at-once", False)):
        answer = mock.request(
            "POST", "/chat/batch", {"session_id": session_id, "messages": messages, "sequential": sequential}
        )
        results = answer.body["results"]
        failed = [item["index"] for item in results if "error" in item]
        assert answer.status == 200
        assert 0 < len(failed) < 10
        stored = json.loads(redis_server.client().get(f"consoul:session:{session_id}") or b"")
        asked = [message["content"] for message in stored["messages"] if message["role"] == "user"]
        assert asked == [f"message {number}" for number in range(10) if number not in failed]
