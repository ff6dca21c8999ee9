"""Group B: the circuit breaker, alone on a clock of its own and around the provider of a whole mock."""

import asyncio
import itertools
import random
import timeit
from collections.abc import AsyncIterator
from typing import Any

import pytest

from mock_server.core.breaker import BreakerConfig, BreakerState, CircuitBreaker, Permit, Refusal
from mock_server.errors import ProviderFailedError
from tests.reliability.conftest import Measure
from tests.reliability.in_process import Answer, InProcess, succeed
from tests.unit.mock_server.core.breaker_rig import Rig

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN


class Provider:
    """What the provider of a mock does next; `started` counts the calls that reached it."""

    def __init__(self, mock: InProcess):
        self.mock = mock
        self.started = 0
        self.release = asyncio.Event()
        mock.provider = self.fail

    async def fail(self) -> None:
        self.started += 1
        raise ProviderFailedError

    async def wait(self) -> None:
        self.started += 1
        await self.release.wait()

    async def trip(self, model: str = "gpt-4") -> None:
        """Opens the breaker of the model's provider, and moves to the end of its time-out."""
        self.mock.provider = self.fail
        for _ in range(5):
            assert (await self.mock.chat("trip", model)).body["code"] == "E200"
        assert self.mock.sample("consoul_circuit_breaker_state", provider="openai") == OPEN
        self.mock.monotonic_s += 60.0
        self.started = 0


@pytest.fixture
async def mock() -> AsyncIterator[InProcess]:
    made = InProcess()
    async with made.serving():
        yield made


async def settle(tasks: "list[asyncio.Task[Answer]]", left: int) -> None:
    """Lets the loop turn until only `left` of the tasks go on."""
    async with asyncio.timeout(20):
        while sum(not task.done() for task in tasks) > left:
            await asyncio.sleep(0)


def start_chats(mock: InProcess, count: int) -> "list[asyncio.Task[Answer]]":
    return [asyncio.create_task(mock.chat(f"s-{number}")) for number in range(count)]


def test_b01_failures_in_a_row(measure: Measure) -> None:
    opened_at = []
    for threshold in range(1, 21):
        rig = Rig(failure_threshold=threshold)
        opened_at.append(rig.count_until("fail", OPEN))
    assert opened_at == list(range(1, 21))
    rig = Rig()
    rig.fail(4)
    assert rig.breaker.state is CLOSED
    rig.fail()
    assert rig.refusal() == Refusal(OPEN, 60.0)
    measure("opens on exactly the 5th failure, not the 4th", f"open after {opened_at[4]}; 20 of 20 thresholds exact")


def test_b02_a_success_among_failures(measure: Measure) -> None:
    rng = random.Random(2)
    for _ in range(1000):
        rig = Rig()
        rig.fail(rng.randint(0, 4))
        rig.succeed(rng.randint(1, 3))
        rig.fail(4)
        assert rig.breaker.state is CLOSED
        rig.fail()
        assert rig.breaker.state is OPEN
    measure("a success resets the count", "1,000 of 1,000: 5 more failures are needed after it")


def test_b03_the_end_of_the_time_out(measure: Measure) -> None:
    for begin_s in (0.0, 0.1, 1e9 + 0.3):
        rig = Rig()
        rig.now_s = begin_s
        rig.fail(5)
        rig.now_s = begin_s + 59.999
        assert rig.refusal().state is OPEN
        rig.now_s = begin_s + 60.0
        rig.permit()
        assert rig.breaker.state is HALF_OPEN
    measure("at 59.999 s still open, at 60.000 s one probe", "open at 59.999 s, probe at 60.000 s, from 3 beginnings")


async def test_b04_a_thousand_arrivals_while_half_open(mock: InProcess, measure: Measure) -> None:
    provider = Provider(mock)
    await provider.trip()
    mock.provider = provider.wait
    tasks = start_chats(mock, 1000)
    await settle(tasks, left=3)
    refused = [task.result() for task in tasks if task.done()]
    kinds = {(answer.status, answer.body["code"]) for answer in refused}
    measure("of 1,000 exactly 3 run, 997 refused", f"{provider.started} ran, {len(refused)} refused, {kinds}")
    assert provider.started == 3
    assert len(refused) == 997
    assert kinds == {(503, "E207")}
    assert all(answer.body["retry_after"] > 0 and b"retry-after" in answer.headers for answer in refused)
    assert mock.sample("consoul_circuit_breaker_rejections_total", provider="openai") == 997
    provider.release.set()
    await asyncio.gather(*tasks)
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == CLOSED


def test_b05_successes_while_half_open(measure: Measure) -> None:
    closed_at = []
    for threshold in range(1, 11):
        rig = Rig(success_threshold=threshold)
        rig.fail(5)
        rig.now_s = 60.0
        closed_at.append(rig.count_until("succeed", CLOSED))
        rig.fail(4)
        assert rig.breaker.state is CLOSED, "failures from before the trip must not count"
    assert closed_at == list(range(1, 11))
    measure("3 successes close", f"closed after {closed_at[2]}; 10 of 10 thresholds exact")


def test_b06_a_failure_while_half_open(measure: Measure) -> None:
    for successes in (0, 1, 2):
        rig = Rig()
        rig.fail(5)
        rig.now_s = 60.0
        rig.succeed(successes)
        rig.now_s = 75.0
        rig.fail()
        assert rig.breaker.state is OPEN
        rig.now_s = 134.999
        assert rig.refusal().state is OPEN
        rig.now_s = 135.0
        rig.permit()
    measure("1 failure re-opens and restarts 60 s", "open until 60.000 s after it, whatever succeeded before")


async def test_b07_cancelled_probes(mock: InProcess, measure: Measure) -> None:
    provider = Provider(mock)
    await provider.trip()
    mock.provider = provider.wait
    hung = start_chats(mock, 3)
    await settle([*hung], left=3)
    while provider.started < 3:
        await asyncio.sleep(0)
    assert (await mock.chat("full")).body["code"] == "E207"
    for _ in range(100):
        # As the server does when the client is gone.
        task = hung.pop(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        started = provider.started
        hung.append(asyncio.create_task(mock.chat(f"again-{started}")))
        async with asyncio.timeout(10):
            while provider.started == started:
                await asyncio.sleep(0)
        assert (await mock.chat("full")).body["code"] == "E207", "one place came free, no more"
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == HALF_OPEN, "it counts for nothing"
    provider.release.set()
    assert [answer.status for answer in await asyncio.gather(*hung)] == [200] * 3
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == CLOSED
    measure(
        "a cancelled probe returns its permit, no hang", "100 of 100 cancelled probes gave their place to another"
    )


async def test_b08_outcomes_that_say_nothing_of_the_provider(measure: Measure) -> None:
    async def bug() -> None:
        raise ValueError("a bug of ours")

    quick = '{"total_s":[0.05,0.05],"first_token_share":0.5,"tokens":[2,2]}'
    async with InProcess(
        HTTPX_MAX_CONNECTIONS="1", OPENAI_TIMEOUT="0.1", MOCK_PROVIDER_CUSTOM=quick
    ).serving() as mock:
        provider = Provider(mock)
        for _ in range(4):
            await mock.chat("s")
        mock.provider = bug
        assert [(await mock.chat("s")).status for _ in range(10)] == [500] * 10
        # The pool of one place is taken: ours is full, nothing is known of the provider.
        mock.provider = provider.wait
        holder = asyncio.create_task(mock.chat("holder"))
        while provider.started < 5:
            await asyncio.sleep(0)
        assert [answer.body["code"] for answer in await asyncio.gather(*start_chats(mock, 10))] == ["E208"] * 10
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        assert mock.sample("consoul_circuit_breaker_state", provider="openai") == CLOSED
        mock.provider = provider.fail
        await mock.chat("s")
        assert mock.sample("consoul_circuit_breaker_state", provider="openai") == OPEN, "4 failures, 21 nothings, 1"
        mock.monotonic_s += 60.0
        mock.provider = bug
        assert [(await mock.chat("s")).status for _ in range(10)] == [500] * 10
        assert mock.sample("consoul_circuit_breaker_state", provider="openai") == HALF_OPEN
        mock.provider = succeed
        assert [(await mock.chat("s")).status for _ in range(3)] == [200] * 3
        assert mock.sample("consoul_circuit_breaker_state", provider="openai") == CLOSED
    measure("an ignored exception returns its permit and counts as nothing", "31 of 31, in closed and in half-open")


async def test_b09_results_from_before_the_trip(mock: InProcess, measure: Measure) -> None:
    provider = Provider(mock)
    mock.provider = provider.wait
    early = start_chats(mock, 20)
    while provider.started < 20:
        await asyncio.sleep(0)
    await provider.trip()
    mock.provider = succeed
    assert (await mock.chat("probe")).status == 200
    provider.release.set()
    await asyncio.gather(*early)
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == HALF_OPEN, "20 successes, all too old"
    rig = Rig()
    stale = [rig.permit() for _ in range(20)]
    rig.fail(5)
    for permit in stale[:10]:
        rig.breaker.succeed(permit)
    assert rig.breaker.state is OPEN
    rig.now_s = 60.0
    rig.permit()
    for permit in stale[10:]:
        rig.breaker.fail(permit)
    assert rig.breaker.state is HALF_OPEN
    measure("a result from before the trip is ignored", "40 of 40 ignored: 30 successes, 10 failures")


def test_b10_ten_providers(measure: Measure) -> None:
    rng = random.Random(10)
    together, alone = [Rig() for _ in range(10)], [Rig() for _ in range(10)]
    scripts: list[list[tuple[str, float]]] = [[] for _ in range(10)]
    for _ in range(10_000):
        number = rng.randrange(10)
        # The first three fail always, the rest now and then.
        step = (rng.choice(["fail"] if number < 3 else ["succeed", "succeed", "fail"]), rng.choice([0.0, 0.0, 30.0]))
        scripts[number].append(step)
        act(together[number], *step)
    for rig, script in zip(alone, scripts, strict=True):
        for step in script:
            act(rig, *step)
    differences = sum(one.moves != other.moves for one, other in zip(together, alone, strict=True))
    assert differences == 0
    assert all(rig.moves for rig in together[:3])
    measure("10 providers isolated", f"10,000 calls mixed: {differences} of 10 differ from being alone")


def act(rig: Rig, outcome: str, wait_s: float) -> None:
    rig.now_s += wait_s
    permit = rig.breaker.acquire()
    if isinstance(permit, Permit):
        getattr(rig.breaker, outcome)(permit)


async def test_b11_wall_clock_set_back_and_forth(mock: InProcess, measure: Measure) -> None:
    provider = Provider(mock)
    rng = random.Random(11)
    for round_ in range(20):
        mock.provider = provider.fail
        for _ in range(5):
            mock.wall_s += rng.choice([-3600.0, 3600.0])
            assert (await mock.chat("trip")).body["code"] == "E200"
        for _ in range(10):
            mock.wall_s += rng.choice([-3600.0, 3600.0])
            assert (await mock.chat("s")).body["retry_after"] == pytest.approx(60.0)
        mock.monotonic_s += 59.999
        assert (await mock.chat("s")).body["code"] == "E206"
        mock.monotonic_s += 0.002
        mock.provider = succeed
        for _ in range(3):
            mock.wall_s += rng.choice([-3600.0, 3600.0])
            assert (await mock.chat("s")).status == 200
        assert mock.sample("consoul_circuit_breaker_trips_total", provider="openai") == round_ + 1
    measure("wall clock ±1 h: no effect", "360 jumps of ±1 h: 0 effects on 20 trips and 20 recoveries")


async def test_b12_probes_that_never_end(mock: InProcess, measure: Measure) -> None:
    provider = Provider(mock)
    await provider.trip()
    mock.provider = provider.wait
    hung = start_chats(mock, 3)
    while provider.started < 3:
        await asyncio.sleep(0)
    mock.provider = succeed
    # Twice the longest time-out of a provider: a call in earnest has ended by then.
    mock.monotonic_s += 239.9
    assert (await mock.chat("s")).body["code"] == "E207"
    mock.monotonic_s += 0.2
    assert [(await mock.chat("s")).status for _ in range(2)] == [200] * 2
    for task in hung:
        task.cancel()
    await asyncio.gather(*hung, return_exceptions=True)
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == HALF_OPEN
    assert (await mock.chat("s")).status == 200
    assert mock.sample("consoul_circuit_breaker_state", provider="openai") == CLOSED
    rig = Rig(half_open_max_calls=1, probe_timeout_s=10.0)
    rig.fail(5)
    rig.now_s = 60.0
    lost = rig.permit()
    rig.now_s = 70.0
    rig.permit()
    rig.breaker.fail(lost)
    assert rig.breaker.state is HALF_OPEN, "a reclaimed probe's result counts for nothing"
    measure("permit reclaimed after its time-out", "3 hung probes block until 240 s, then 3 others close it")


def test_b13_a_hook_that_raises(measure: Measure) -> None:
    rng = random.Random(13)
    good, seen = Rig(), 0

    def broken(before: BreakerState, to: BreakerState) -> None:
        nonlocal seen
        seen += 1
        raise RuntimeError("an observer's bug")

    bad = Rig()
    bad.breaker = CircuitBreaker(BreakerConfig(), lambda: bad.now_s, broken)
    states = [CLOSED]
    for _ in range(10_000):
        outcome, wait_s = rng.choice(["fail", "fail", "succeed", "release"]), rng.choice([0.0, 0.0, 25.0])
        before = good.breaker.state
        for rig in (good, bad):
            act(rig, outcome, wait_s)
        assert good.breaker.state is bad.breaker.state
        # A call may turn an open breaker half-open and then settle it: both are events.
        moved = good.moves[len(states) - 1 :]
        assert [move[0] for move in moved[:1]] in ([], [before])
        states += [to for _, to in moved]
        assert states[-1] is good.breaker.state
    assert good.moves == list(itertools.pairwise(states)), "one event for each transition, none missing"
    assert seen == len(good.moves) > 100
    measure("a raising hook changes nothing; events = transitions", f"0 differences in 10,000 calls, {seen} events")


async def test_b14_cost_of_a_refusal(measure: Measure) -> None:
    rig = Rig()
    rig.fail(5)
    # Short pieces, so that one of them has the processor for itself.
    number = 1000
    open_us = min(timeit.repeat(rig.breaker.acquire, number=number, repeat=300)) / number * 1e6
    rig.now_s = 60.0
    for _ in range(3):
        rig.permit()
    full_us = min(timeit.repeat(rig.breaker.acquire, number=number, repeat=300)) / number * 1e6
    async with InProcess().serving() as mock:
        provider = Provider(mock)
        await provider.trip()
        mock.monotonic_s -= 30.0
        awaits = count_awaits(mock.chat("s"))
        assert provider.started == 0, "a refusal costs no call to the provider"
    measure(
        "a refused call costs <= 5 µs and 0 awaits", f"{open_us:.2f} µs open, {full_us:.2f} µs full, {awaits} awaits"
    )
    assert max(open_us, full_us) <= 5.0
    assert awaits == 0


def count_awaits(coroutine: Any) -> int:
    """Drives a whole request by hand; returns how often it gave the loop a turn, -1 when it was not refused."""
    for number in range(1000):
        try:
            coroutine.send(None)
        except StopIteration as stop:
            return number if stop.value.body["code"] == "E206" else -1
    raise AssertionError("the request does not end")
