"""Sessions that go on in memory, and their way back to Redis."""

import asyncio
import contextlib
from typing import cast

import msgspec
import pytest

from mock_server.errors import SessionNotFoundError, StorageSaturatedError
from mock_server.state import fallback_sessions as module
from mock_server.state.coalescer import Coalescer
from mock_server.state.fallback_sessions import FallbackSessions
from mock_server.state.journal import Journal
from mock_server.state.redis_sessions import RedisSessions
from mock_server.state.sessions import Saved, Session, create_session
from tests.unit.mock_server.conftest import FakeClock
from tests.unit.mock_server.state.fakes import APPLIED, LATE, LOST, NOW, FakeRedis, asked, build_turn


class Rig:
    """One worker's sessions on a fake Redis, and what a request does with them."""

    def __init__(
        self, redis: FakeRedis | None = None, max_bytes: int = 10**9, max_messages: int = 50, number: int = 0
    ):
        self._number = number
        self.redis = redis or FakeRedis()
        self.clock = FakeClock()
        self.risks: list[int] = []
        self.created = 0
        self.journal = Journal(ttl_s=100, max_messages=max_messages, max_bytes=max_bytes)
        store = RedisSessions(cast(Coalescer, self.redis), "p", 100, max_messages)
        outage = self.redis.outage
        self.sessions = FallbackSessions(store, self.journal, outage, self.clock.read, max_messages, self._count)
        self.sessions.on_risk = self.risks.append
        self._turns = 0

    def _count(self) -> None:
        self.created += 1

    async def turn(self, session_id: str, text: str, owner: str | None = None) -> Saved:
        self._turns += 1
        now = f"2026-01-01T00:{self._number:02d}:00.{self._turns:06d}Z"
        session = await self.sessions.load(session_id) or create_session("gpt-4", owner, now)
        return await self.sessions.append(session_id, session, build_turn(text), now)

    async def turns(self, session_id: str, *texts: str) -> list[bool]:
        return [(await self.turn(session_id, text)).is_degraded for text in texts]

    def stored(self, session_id: str) -> list[str]:
        return asked(self.redis.data.get("p:" + session_id))

    async def recover(self) -> int:
        self.redis.outage.end()
        return await self.sessions.copy_back()


async def test_while_all_is_well_nothing_is_kept_in_memory() -> None:
    rig = Rig()
    assert await rig.turns("s", "1", "2") == [False, False]
    assert rig.stored("s") == ["1", "2"]
    assert (rig.sessions.at_risk, rig.risks, rig.journal.size_bytes) == (0, [], 0)


async def test_turns_of_an_outage_are_read_in_memory_and_appended_to_what_it_hid() -> None:
    rig = Rig()
    await rig.turns("s", "1", "2")
    rig.redis.outage.begin()
    assert await rig.turns("s", "3", "4") == [True, True]
    assert asked(await rig.sessions.load("s")) == ["3", "4"], "what only Redis holds looks new"
    assert (rig.sessions.at_risk, await rig.sessions.count()) == (1, 1)
    assert await rig.recover() == 1
    assert rig.stored("s") == ["1", "2", "3", "4"]
    assert (rig.sessions.at_risk, rig.journal.size_bytes, rig.risks) == (0, 0, [1, 0])
    assert await rig.turns("s", "5") == [False]
    assert rig.stored("s") == ["1", "2", "3", "4", "5"]
    assert msgspec.json.decode(rig.redis.data["p:s"], type=Session).version == 5


async def test_a_save_that_fails_after_a_good_load_keeps_the_history() -> None:
    rig = Rig()
    await rig.turns("s", "1")
    rig.redis.cuts.append(LOST)
    assert await rig.turns("s", "2") == [True]
    assert asked(await rig.sessions.load("s")) == ["1", "2"]
    rig.redis.data.clear()
    await rig.recover()
    assert rig.stored("s") == ["1", "2"], "Redis came back empty: memory's own history is all there is"


@pytest.mark.parametrize("fate", [APPLIED, LOST, LATE])
@pytest.mark.parametrize("others", [0, 1, 3])
@pytest.mark.parametrize("is_new", [True, False])
async def test_a_save_of_unknown_outcome_is_there_once(fate: str, others: int, is_new: bool) -> None:
    rig = Rig()
    other = Rig(FakeRedis(rig.redis.data), number=1)
    if not is_new:
        await other.turns("s", "0")
    rig.redis.cuts.append(fate)
    assert await rig.turns("s", "mine", "mine") == [True, True]
    texts = [f"other {number}" for number in range(others)]
    await other.turns("s", *texts)
    before = rig.stored("s")
    await rig.recover()
    rig.redis.deliver()
    rest = ["mine"] if fate == APPLIED else ["mine", "mine"]
    assert rig.stored("s") == before + rest
    assert rig.stored("s").count("mine") == 2
    assert rig.created + other.created == (1 if is_new and (fate == APPLIED or not others) else 0)


async def test_a_save_that_left_the_history_since_is_not_appended_after_newer_turns() -> None:
    rig = Rig(max_messages=4)
    other = Rig(FakeRedis(rig.redis.data), max_messages=4, number=1)
    rig.redis.cuts.append(APPLIED)
    await rig.turns("s", "mine")
    await other.turns("s", "a", "b", "c")
    await rig.recover()
    assert rig.stored("s") == ["b", "c"]


async def test_a_save_cut_off_after_others_came_first_follows_them() -> None:
    rig = Rig()
    other = Rig(FakeRedis(rig.redis.data), number=1)
    await rig.turns("s", "1")
    seen = await rig.sessions.load("s")
    assert seen is not None
    await other.turns("s", "2")
    rig.redis.cuts.extend([None, APPLIED])
    assert (await rig.sessions.append("s", seen, build_turn("3"), "2026-01-02")).is_degraded
    assert asked(await rig.sessions.load("s")) == ["1", "2", "3"]
    await rig.recover()
    assert rig.stored("s") == ["1", "2", "3"]


async def test_the_same_words_in_a_session_that_others_began_are_not_ours() -> None:
    rig = Rig()
    other = Rig(FakeRedis(rig.redis.data), number=1)
    rig.redis.cuts.append(LOST)
    await rig.turns("s", "hello")
    await other.turns("s", "hello", "bye")
    await rig.recover()
    assert rig.stored("s") == ["hello", "bye", "hello"]


async def test_two_memories_of_a_history_that_redis_lost_do_not_overwrite_one_another() -> None:
    one = Rig()
    two = Rig(FakeRedis(one.redis.data), number=1)
    await one.turns("s", "1")
    # One goes on from the first turn, two from the second; then Redis loses both.
    one.redis.cuts.append(LOST)
    await one.turns("s", "mine")
    await two.turns("s", "2")
    two.redis.cuts.append(LOST)
    await two.turns("s", "theirs")
    one.redis.data.clear()
    await one.recover()
    assert one.stored("s") == ["1", "mine"]
    await two.recover()
    assert one.stored("s") == ["1", "mine", "theirs"]


async def test_a_copy_that_is_cut_off_is_found_again_however_often() -> None:
    rig = Rig()
    await rig.turns("s", "0")
    rig.redis.outage.begin()
    await rig.turns("s", "1", "2")
    rig.redis.cuts.extend([LOST, LATE, APPLIED])
    for expected in (0, 0):
        assert await rig.recover() == expected
    rig.redis.deliver()
    await rig.turns("s", "3")
    for _ in range(3):
        await rig.recover()
    assert rig.stored("s") == ["0", "1", "2", "3"]
    assert rig.sessions.at_risk == 0


async def test_a_copy_that_is_cancelled_is_found_again() -> None:
    rig = Rig()
    rig.redis.outage.begin()
    await rig.turns("s", "1")
    rig.redis.outage.end()
    rig.redis.gate = asyncio.Event()
    copying = asyncio.create_task(rig.sessions.copy_back())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert rig.stored("s") == ["1"], "applied, and its reply is on the way"
    copying.cancel()
    await asyncio.gather(copying, return_exceptions=True)
    rig.redis.gate = None
    assert await rig.recover() == 1
    assert rig.stored("s") == ["1"]


async def test_a_turn_that_arrives_while_its_session_is_copied_follows_the_copy() -> None:
    rig = Rig()
    await rig.turns("s", "0")
    rig.redis.outage.begin()
    await rig.turns("s", "1")
    rig.redis.outage.end()
    gate = rig.redis.gate = asyncio.Event()
    copying = asyncio.create_task(rig.sessions.copy_back())
    await asyncio.sleep(0)
    arriving = asyncio.create_task(rig.turn("s", "2"))
    waiting = asyncio.create_task(rig.turn("other", "x"))
    await asyncio.sleep(0)
    assert not arriving.done()
    gate.set()
    assert await copying == 1
    assert not (await arriving).is_degraded
    await waiting
    assert rig.stored("s") == ["0", "1", "2"]
    assert rig.sessions.at_risk == 0


async def test_a_turn_that_began_in_memory_ends_there_and_is_copied_soon() -> None:
    rig = Rig()
    rig.redis.is_up = False
    session = await rig.sessions.load("s") or create_session("gpt-4", None, NOW)
    rig.redis.is_up = True
    assert (await rig.sessions.append("s", session, build_turn("1"), NOW)).is_degraded
    assert rig.redis.saves == 0, "no second time-out"
    assert rig.risks == [1], "wakes whoever copies back"
    await rig.recover()
    assert rig.stored("s") == ["1"]


async def test_a_turn_that_began_in_memory_and_never_ended_marks_no_later_one() -> None:
    rig = Rig()
    rig.redis.outage.begin()
    assert await rig.sessions.load("s") is None
    rig.redis.outage.end()
    assert await rig.turns("s", "1") == [False]


async def test_another_keys_session_is_not_touched_by_the_copy() -> None:
    rig = Rig()
    await rig.turn("s", "theirs", owner="them")
    rig.redis.outage.begin()
    await rig.turn("s", "mine", owner="me")
    await rig.turn("other", "mine", owner="me")
    assert await rig.recover() == 1
    assert (rig.stored("s"), rig.stored("other")) == (["theirs"], ["mine"])
    assert (rig.sessions.at_risk, rig.sessions.uncopied) == (0, 1)


async def test_another_key_cannot_add_to_a_session_in_memory() -> None:
    rig = Rig()
    rig.redis.outage.begin()
    seen = create_session("gpt-4", "them", NOW)
    await rig.turn("s", "mine", owner="me")
    with pytest.raises(SessionNotFoundError):
        await rig.sessions.append("s", seen, build_turn("theirs"), NOW)


async def test_unreadable_sessions_are_counted_and_kept() -> None:
    rig = Rig()
    rig.redis.outage.begin()
    await rig.turns("s", "1")
    rig.redis.data["p:s"] = b"{}"
    assert await rig.recover() == 0
    assert (rig.redis.data["p:s"], rig.sessions.at_risk, rig.sessions.uncopied) == (b"{}", 0, 1)


async def test_a_full_memory_refuses_turns_and_drops_none() -> None:
    rig = Rig(max_bytes=30_000)
    rig.redis.outage.begin()
    taken = []
    with contextlib.suppress(StorageSaturatedError):
        for number in range(1000):
            await rig.turn(f"s{number % 3}", str(number))
            taken.append(str(number))
    assert 10 < len(taken) < 60
    with pytest.raises(StorageSaturatedError):
        await rig.sessions.load("new")
    rig.redis.cuts.extend([LOST] * 3)
    await rig.recover()
    with pytest.raises(StorageSaturatedError):
        await rig.turn("s0", "x")
    await rig.recover()
    assert sorted(rig.stored("s0") + rig.stored("s1") + rig.stored("s2"), key=int) == taken
    assert await rig.turns("s0", "x") == [False]


async def test_saturation_is_passed_on_and_nothing_is_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()

    async def refuse(*_: object) -> None:
        raise StorageSaturatedError

    monkeypatch.setattr(rig.redis, "execute", refuse)
    with pytest.raises(StorageSaturatedError):
        await rig.turn("s", "1")
    assert rig.sessions.at_risk == 0


async def test_sessions_that_expired_meanwhile_make_room_and_are_not_copied() -> None:
    rig = Rig(max_bytes=30_000)
    rig.redis.outage.begin()
    for number in range(5):
        await rig.turn(f"old{number}", "x")
    rig.clock.now_s += 101
    await rig.turn("new", "y")
    assert await rig.sessions.count() == 1
    await rig.recover()
    assert list(rig.redis.data) == ["p:new"]


async def test_many_sessions_are_copied_at_once_but_not_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COPIES_AT_ONCE", 7)
    rig = Rig()
    rig.redis.outage.begin()
    for number in range(100):
        await rig.turn(f"s{number}", "x")
    rig.redis.outage.end()
    gate = rig.redis.gate = asyncio.Event()
    copying = asyncio.create_task(rig.sessions.copy_back())
    for _ in range(5):
        await asyncio.sleep(0)
    begun = [name for name in rig.journal if (entry := rig.journal.find(name)) and entry.copied is not None]
    assert len(begun) == 7
    gate.set()
    assert await copying == 100
    assert rig.created == len(rig.redis.data) == 100


async def test_a_long_outage_of_one_session_is_copied_as_if_turn_by_turn() -> None:
    rig = Rig(max_messages=5)
    await rig.turns("s", "0")
    rig.redis.outage.begin()
    await rig.turns("s", *(str(number) for number in range(1, 2000)))
    await rig.recover()
    session = msgspec.json.decode(rig.redis.data["p:s"], type=Session)
    contents = [message["content"] for message in msgspec.json.decode(session.messages)]
    assert contents == ["answer to 1997", "1998", "answer to 1998", "1999", "answer to 1999"]
    assert (session.version, len(session.tokens)) == (2000, 5)
    assert rig.redis.saves == 3
