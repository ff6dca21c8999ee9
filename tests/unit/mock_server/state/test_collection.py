"""Which stored values are dead, and when a worker looks for them."""

import msgspec
import pytest

from mock_server.state.collection import is_dead, looks_alive
from mock_server.state.sessions import Message, Turn, append_turn, create_session

NOON_S = 1_767_268_800.0
NOON = "2026-01-01T12:00:00.000000Z"


def build_value(updated_at: str = NOON) -> bytes:
    turn = Turn(Message("user", "a"), 1, Message("assistant", "b"), 2)
    return msgspec.json.encode(append_turn(create_session("gpt-4", None, updated_at), turn, updated_at, 50))


UNREADABLE = [
    b"",
    b"null",
    b"{}",
    b"\xff\xfe",
    b"[" * 5000,
    build_value()[:-1],
    build_value().replace(b'"messages":[', b'"messages":{"no":['),
    b'{"version":1,"created_at":"x"}',
]


@pytest.mark.parametrize("value", UNREADABLE)
@pytest.mark.parametrize("has_ttl", [True, False])
def test_what_no_store_can_read_is_dead(value: bytes, has_ttl: bool) -> None:
    assert is_dead(value, has_ttl, oldest_s=0.0)


@pytest.mark.parametrize(("oldest_s", "dead"), [(NOON_S - 1, False), (NOON_S, False), (NOON_S + 0.001, True)])
def test_a_session_without_time_to_live_is_dead_once_it_would_have_expired(oldest_s: float, dead: bool) -> None:
    assert is_dead(build_value(), False, oldest_s) is dead
    assert not is_dead(build_value(), True, oldest_s), "a live one has a time to live"


@pytest.mark.parametrize("updated_at", ["", "yesterday", "0001-01-01"])
def test_a_time_that_is_none_means_dead_only_without_time_to_live(updated_at: str) -> None:
    assert is_dead(build_value(updated_at), False, 0.0)
    assert not is_dead(build_value(updated_at), True, 0.0)


def test_a_look_spares_only_what_will_expire_and_looks_whole() -> None:
    value = build_value()
    assert looks_alive(1, 3_600_000, value[:64], value[-1:])
    assert not looks_alive(1, -1, value[:64], value[-1:])
    assert not looks_alive(1, 3_600_000, b"x" + value[1:64], value[-1:])
    assert not looks_alive(1, 3_600_000, value[:64], b"]")
    assert not looks_alive(2)
