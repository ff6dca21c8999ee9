"""Two workers, one Redis that fails in every way there is: no acknowledged turn is lost, none is there twice."""

import asyncio
import itertools
from typing import cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mock_server.state.coalescer import Coalescer
from mock_server.state.fallback_sessions import FallbackSessions
from mock_server.state.journal import Journal
from mock_server.state.redis_sessions import RedisSessions
from mock_server.state.sessions import create_session
from tests.unit.mock_server.state.fakes import APPLIED, LATE, LOST, FakeRedis, asked, build_turn

MAX_MESSAGES = 100_000
SESSIONS = ("a", "b")
WORKERS = st.sampled_from((0, 1))


class Outages(RuleBasedStateMachine):
    """The model is the list of acknowledged turns of each worker on each session, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.data: dict[str, bytes] = {}
        self.redis = [FakeRedis(self.data) for _ in range(2)]
        self.workers = [
            FallbackSessions(
                RedisSessions(cast(Coalescer, redis), "p", 100, MAX_MESSAGES),
                Journal(100, MAX_MESSAGES),
                redis.outage,
                lambda: 0.0,
                MAX_MESSAGES,
                lambda: None,
            )
            for redis in self.redis
        ]
        self.acknowledged: dict[tuple[str, int], list[str]] = {
            (session, worker): [] for session in SESSIONS for worker in (0, 1)
        }
        # What Redis held when it lost its data: it may come back from a worker's memory, or not.
        self.hidden: set[str] = set()
        self.numbers = itertools.count(1)

    @rule(worker=WORKERS, session_id=st.sampled_from(SESSIONS))
    def take_turn(self, worker: int, session_id: str) -> None:
        number = next(self.numbers)
        now, store = f"t{number:06d}", self.workers[worker]

        async def take() -> None:
            session = await store.load(session_id) or create_session("gpt-4", None, now)
            await store.append(session_id, session, build_turn(str(number)), now)

        asyncio.run(take())
        self.acknowledged[session_id, worker].append(str(number))

    @rule(worker=WORKERS, cuts=st.lists(st.sampled_from((None, APPLIED, LOST, LATE)), min_size=1, max_size=2))
    def cut_next_saves(self, worker: int, cuts: list[str | None]) -> None:
        self.redis[worker].cuts.extend(cuts)

    @rule()
    def go_down(self) -> None:
        for redis in self.redis:
            redis.is_up = False

    @rule()
    def come_up(self) -> None:
        for redis in self.redis:
            redis.is_up = True

    @rule(worker=WORKERS)
    def begin_outage(self, worker: int) -> None:
        self.redis[worker].outage.begin()

    @rule(worker=WORKERS)
    def recover(self, worker: int) -> None:
        self.redis[worker].outage.end()
        asyncio.run(self.workers[worker].copy_back())

    @rule(worker=WORKERS)
    def deliver_late(self, worker: int) -> None:
        self.redis[worker].deliver()

    @precondition(lambda self: not self.redis[0].is_up)
    @rule()
    def lose_data(self) -> None:
        for stored in self.data.values():
            self.hidden.update(asked(stored))
        self.data.clear()

    @invariant()
    def nothing_is_there_twice(self) -> None:
        for stored in self.data.values():
            turns = asked(stored)
            assert len(set(turns)) == len(turns), turns

    def teardown(self) -> None:
        for redis, worker in zip(self.redis, self.workers, strict=True):
            redis.is_up = True
            redis.outage.end()
            while worker.at_risk:
                asyncio.run(worker.copy_back())
            redis.cuts.clear()
        for redis in self.redis:
            redis.deliver()
        self.nothing_is_there_twice()
        for (session_id, worker_number), turns in self.acknowledged.items():
            stored = asked(self.data.get("p:" + session_id))
            kept = [turn for turn in stored if turn in turns]
            assert [turn for turn in turns if turn in kept] == kept, "the order of a worker's turns"
            assert set(turns) - set(kept) <= self.hidden, f"worker {worker_number} lost a turn of {session_id}"
        known = {turn for turns in self.acknowledged.values() for turn in turns}
        assert all(set(asked(stored)) <= known for stored in self.data.values())


TestOutages = Outages.TestCase
TestOutages.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
