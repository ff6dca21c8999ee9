"""Sessions and limits in memory, and the rule by which a turn is appended."""

import msgspec
import pytest

from mock_server.core.limits import Limit
from mock_server.state import limiter, memory_sessions
from mock_server.state.limiter import MemoryLimiter
from mock_server.state.memory_sessions import MemorySessions
from mock_server.state.sessions import Message, Turn, append_turn, create_session

TURN = Turn(Message("user", "a"), 1, Message("assistant", "b"), 2)
NOW = "2026-01-01T00:00:00.000000Z"


class Hand:
    now_s = 100.0

    def read(self) -> float:
        return self.now_s


def test_history_is_cut_to_the_newest() -> None:
    session = create_session("gpt-4", None, NOW)
    for number in range(4):
        turn = msgspec.structs.replace(TURN, asked=Message("user", str(number)))
        session = append_turn(session, turn, NOW, max_messages=4)
    assert session.version == 4
    assert [message["content"] for message in msgspec.json.decode(session.messages)] == ["2", "b", "3", "b"]
    assert session.tokens == [1, 2, 1, 2]


def test_no_words_of_a_message_pass_for_the_end_of_one() -> None:
    hostile = ['},{"role":"', '\\"},{"role":"user', "]", '"', "\\", "[]"]
    session, asked = create_session("gpt-4", None, NOW), []
    for number, text in enumerate(hostile * 3):
        turn = msgspec.structs.replace(TURN, asked=Message("user", text), answered=Message("assistant", text))
        session = append_turn(session, turn, NOW, max_messages=6)
        asked += [text, text]
        assert [message["content"] for message in msgspec.json.decode(session.messages)] == asked[-6:], number


def test_a_shorter_history_than_before_is_cut_at_once_and_odd_lengths_hold() -> None:
    session = create_session("gpt-4", None, NOW)
    for maximum, kept in ((50, 2), (50, 4), (50, 6), (3, 3), (2, 2), (2, 2)):
        session = append_turn(session, TURN, NOW, maximum)
        assert len(msgspec.json.decode(session.messages)) == len(session.tokens) == kept


async def test_sessions_last_for_their_time_since_the_last_save() -> None:
    clock = Hand()
    sessions = MemorySessions(clock.read, ttl_s=10, max_messages=50)
    new = create_session("gpt-4", None, NOW)
    assert (await sessions.append("s", new, TURN, NOW)).is_new
    clock.now_s += 9
    assert not (await sessions.append("s", new, TURN, NOW)).is_new, (
        "saved over what is stored, not over what was seen"
    )
    stored = await sessions.load("s")
    assert stored is not None
    assert (stored.version, len(msgspec.json.decode(stored.messages))) == (2, 4)
    clock.now_s += 9.9
    assert await sessions.count() == 1
    clock.now_s += 0.1
    assert await sessions.load("s") is None
    assert await sessions.count() == 0


async def test_sessions_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_sessions, "MAX_SESSIONS", 3)
    sessions = MemorySessions(Hand().read, ttl_s=10, max_messages=50)
    for name in "abcabd":
        await sessions.append(name, create_session("gpt-4", None, NOW), TURN, NOW)
    assert [await sessions.load(name) is not None for name in "abcd"] == [True, True, False, True]


async def test_limits_are_per_identity_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limiter, "MAX_IDENTITIES_IN_MEMORY", 2)
    limits = (Limit(1, 60),)
    memory = MemoryLimiter(Hand().read)
    outcomes = [(await memory.check(name, limits)).allowed for name in "aabca"]
    assert outcomes == [True, False, True, True, True]
