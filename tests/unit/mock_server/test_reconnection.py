"""The way back to Redis: when it is asked, what is told, what is copied, and what is said at the end."""

import asyncio
import logging
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from mock_server.core.outage import Outage
from mock_server.errors import StorageUnavailableError
from mock_server.metrics import StorageMetrics
from mock_server.reconnection import Reconnector
from mock_server.state.coalescer import Coalescer
from mock_server.state.fallback_limiter import FallbackLimiter
from mock_server.state.fallback_sessions import FallbackSessions


class Client:
    """Stands for a Coalescer whose Redis answers or not."""

    def __init__(self) -> None:
        self.outage, self.answers, self.probes = Outage(), True, 0

    def on_away(self) -> None:
        raise AssertionError("the reconnector listens")

    async def start(self) -> None:
        if not self.answers:
            self.lose()

    async def probe(self) -> None:
        self.probes += 1
        if not self.answers:
            raise StorageUnavailableError

    def lose(self) -> None:
        self.answers = False
        self.outage.begin()
        self.on_away()


class Sessions:
    """Stands for the sessions at risk; `copies` says how many each call of copy_back takes."""

    def __init__(self) -> None:
        self.at_risk = self.uncopied = 0
        self.copies = [1000]

    def risk(self, sessions: int) -> None:
        self.at_risk = sessions
        self.on_risk(sessions)

    def on_risk(self, _: int) -> None:
        raise AssertionError("the reconnector listens")

    async def copy_back(self) -> int:
        copied = min(self.copies.pop() if len(self.copies) > 1 else self.copies[0], self.at_risk)
        self.risk(self.at_risk - copied)
        return copied


class Limiter:
    forgotten = 0

    def forget(self) -> None:
        self.forgotten += 1


class Rig:
    def __init__(self, clients: int = 2, has_fallback: bool = True):
        self.registry = CollectorRegistry()
        self.clients = [Client() for _ in range(clients)]
        self.sessions, self.limiter = Sessions(), Limiter()
        self.slept_s: list[float] = []
        # What happens during the n-th sleep; after the last, a test is over.
        self.script: list[object] = []
        self.reconnector = Reconnector(
            cast(list[Coalescer], self.clients),
            cast(FallbackSessions, self.sessions) if has_fallback else None,
            cast(FallbackLimiter, self.limiter) if has_fallback else None,
            60.0,
            StorageMetrics(self.registry),
            self.sleep,
        )

    async def sleep(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        act = self.script.pop(0)
        if callable(act):
            act()

    def come_back(self) -> None:
        for client in self.clients:
            client.answers = True

    async def run(self) -> None:
        """Runs until there is nothing left to do."""
        task = asyncio.create_task(self.reconnector.run())
        for _ in range(50):
            await asyncio.sleep(0)
        task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        assert isinstance(result, asyncio.CancelledError), result

    def sample(self, name: str) -> float:
        value = self.registry.get_sample_value(name)
        assert value is not None
        return value

    @property
    def gauges(self) -> tuple[float, float, float]:
        names = ("consoul_redis_degraded", "consoul_redis_recovered_total", "consoul_redis_sessions_at_risk")
        return cast(tuple[float, float, float], tuple(self.sample(name) for name in names))


async def test_asks_each_interval_while_away_and_never_otherwise(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    await rig.run()
    assert [client.probes for client in rig.clients] == [0, 0]
    for client in rig.clients:
        client.lose()
    rig.sessions.risk(3)
    assert rig.gauges == (1, 0, 3)
    rig.script = [None, None, rig.come_back]
    await rig.run()
    assert rig.slept_s == [60.0] * 3
    assert [client.probes for client in rig.clients] == [3, 3]
    assert rig.gauges == (0, 1, 0), "once, for however many databases"
    assert rig.limiter.forgotten == 1
    (record,) = caplog.records
    assert "copied to it from memory: 3" in record.message


async def test_stays_degraded_until_everything_is_copied(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.clients[0].lose()
    rig.sessions.risk(10)
    rig.sessions.copies = [1000, 4]
    seen: list[tuple[float, float, float]] = []
    rig.script = [rig.come_back, lambda: seen.append(rig.gauges)]
    await rig.run()
    assert seen == [(1, 0, 6)]
    assert rig.slept_s == [60.0, 1.0]
    assert rig.gauges == (0, 1, 0)
    assert "copied to it from memory: 10" in caplog.text


async def test_a_redis_lost_again_while_copying_is_the_same_outage() -> None:
    rig = Rig()
    rig.clients[0].lose()
    rig.sessions.risk(10)
    rig.sessions.copies = [1000, 4]
    rig.script = [rig.come_back, rig.clients[0].lose, rig.come_back]
    await rig.run()
    assert rig.gauges == (0, 1, 0)


async def test_an_error_that_nobody_thought_of_does_not_end_the_way_back(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig()
    rig.clients[0].lose()
    rig.sessions.risk(1)
    rig.sessions.copies = []
    rig.script = [rig.come_back, lambda: rig.sessions.copies.append(5)]
    await rig.run()
    assert rig.gauges == (0, 1, 0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR, logging.WARNING]


async def test_what_a_single_failed_call_left_is_copied_at_once_and_is_no_recovery() -> None:
    rig = Rig()
    rig.sessions.risk(1)
    await rig.run()
    assert (rig.slept_s, rig.gauges) == ([], (0, 0, 0))


async def test_without_fallback_redis_is_asked_each_second_and_nothing_is_degraded(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(has_fallback=False)
    rig.clients[0].lose()
    assert rig.gauges == (0, 0, 0)
    rig.script = [None, rig.come_back]
    await rig.run()
    assert rig.slept_s == [1.0, 1.0]
    assert rig.gauges == (0, 0, 0)
    assert [record.message for record in caplog.records] == ["Redis is back"]


async def test_a_redis_that_does_not_answer_at_the_start_is_away_from_the_start() -> None:
    rig = Rig()
    rig.clients[1].answers = False
    await rig.reconnector.start()
    assert rig.gauges == (1, 0, 0)


@pytest.mark.parametrize("is_back", [True, False])
async def test_the_end_copies_what_it_can_and_says_what_is_lost(
    is_back: bool, caplog: pytest.LogCaptureFixture
) -> None:
    rig = Rig()
    rig.clients[0].lose()
    rig.sessions.risk(7)
    rig.clients[0].answers = is_back
    rig.sessions.copies = [1000 if is_back else 0]
    await rig.reconnector.finish()
    errors = [record.message for record in caplog.records if record.levelno == logging.ERROR]
    assert errors == ([] if is_back else ["Redis stayed away to the end: sessions with turns that are lost: 7"])
