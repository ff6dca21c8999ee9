"""A stored session reads the same with and without its messages looked at, and nothing broken passes for one."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.state.sessions import (
    Message,
    Session,
    Turn,
    append_turn,
    create_session,
    open_session,
    read_session,
)

NOW = "2026-01-01T00:00:00.000000Z"
encode = msgspec.json.Encoder().encode


def build_session(texts: list[str], owner: str | None = None) -> Session:
    session = create_session("gpt-4", owner, NOW)
    for text in texts:
        turn = Turn(Message("user", text), 1, Message("assistant", "answer"), 2)
        session = append_turn(session, turn, NOW, max_messages=50)
    return session


@given(st.lists(st.text() | st.just('x,"messages":[{"role":"user"'), max_size=5), st.none() | st.text())
def test_what_was_written_reads_the_same_both_ways(texts: list[str], owner: str | None) -> None:
    stored = encode(build_session(texts, owner))
    assert open_session(stored) == read_session(stored)
    opened = open_session(stored)
    assert opened is not None
    assert encode(opened) == stored


@pytest.mark.parametrize(
    "stored",
    [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"version":1,"messages":[]}',
        b'{"version":"x","created_at":"","updated_at":"","model":"m","owner":null,"tokens":[],"messages":[]}',
        b'{"version":1,"created_at":"","updated_at":"","model":"m","owner":null,"tokens":[],"messages":{}}',
        b'{"version":1,"created_at":"","updated_at":"","model":"m","owner":null,"tokens":[],"messages":[',
    ],
)
def test_what_is_no_session_is_none(stored: bytes) -> None:
    assert open_session(stored) is None


def test_another_order_of_fields_is_read_in_whole() -> None:
    stored = b'{"messages":[],"version":1,"created_at":"a","updated_at":"b","model":"m","owner":null,"tokens":[1]}'
    session = open_session(stored)
    assert session is not None
    assert (session.version, session.tokens) == (1, [1])
