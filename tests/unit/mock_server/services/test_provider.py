"""The simulated provider in virtual time: pace, failures, time-outs, capacity, and what the ledger says of them."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import pytest

from mock_server.core.clock import Clock
from mock_server.core.latency import PROFILES, LatencyProfile
from mock_server.core.ledger import Entry, Ledger
from mock_server.core.randomness import create_stream
from mock_server.core.text import build_answer, build_tokens
from mock_server.errors import (
    ProviderFailedError,
    ProviderRateLimitedError,
    ProviderSaturatedError,
    ProviderTimeoutError,
    ProviderTruncatedError,
)
from mock_server.services.consoul.pool import ProviderPool
from mock_server.services.consoul.provider import Completion, ProviderConfig, SimulatedProvider, Surroundings
from tests.unit.mock_server.virtual_time import read_clock, run_virtually, sleep_until

# First token after 1 s, then one each 0.25 s: 2 s in all.
PROFILE = LatencyProfile((2.0, 2.0), 0.5, (5, 5))


class Question(NamedTuple):
    request_id: str = "r1"
    transport: str = "sse"


@dataclass
class Bench:
    """One provider in virtual time, and what it gave."""

    pool: ProviderPool = field(default_factory=lambda: ProviderPool(10))
    ledger: Ledger = field(default_factory=lambda: Ledger(1000))
    runs: list[tuple[float, Sequence[str]]] = field(default_factory=list)
    workers: int = 1

    def create(self, latency: LatencyProfile = PROFILE, **config: object) -> SimulatedProvider:
        around = Surroundings(self.pool, Clock(read_clock, read_clock), sleep_until, self.workers, self.ledger)
        made = ProviderConfig(**{"latency": latency, "timeout_s": 30.0, **config})  # type: ignore[arg-type]
        return SimulatedProvider("openai", made, around, create_stream(1, "latency"), create_stream(1, "faults"))

    async def emit(self, run: Sequence[str]) -> None:
        self.runs.append((round(read_clock(), 6), run))

    def entries(self) -> list[Entry]:
        return [entry for _, entry in self.ledger.newer()]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def ask(provider: SimulatedProvider, bench: Bench | None = None) -> Completion:
    return await provider.answer(Question(), "gpt-4", read_clock(), bench.emit if bench else None)


def test_tokens_come_at_their_moments_and_join_to_the_answer(bench: Bench) -> None:
    completion = run_virtually(ask(bench.create(), bench))
    assert [at_s for at_s, _ in bench.runs] == [1.0, 1.25, 1.5, 1.75, 2.0]
    assert "".join(itertools.chain.from_iterable(run for _, run in bench.runs)) == completion.text
    assert len(completion.text.split()) == completion.tokens == 5
    (entry,) = bench.entries()
    assert (entry.first_token_s, entry.between_tokens_s, entry.tokens) == (1.0, 0.25, 5)
    assert list(entry.sent_s) == [(1.0, 1), (1.25, 1), (1.5, 1), (1.75, 1), (2.0, 1)]
    assert (entry.outcome, entry.waited_s, entry.fault) == ("completed", 0.0, None)


@pytest.mark.parametrize("tokens", [1, 2, 29, 4096, 5000])
def test_joined_tokens_are_the_answer(tokens: int) -> None:
    assert "".join(build_tokens(tokens, 17)) == build_answer(tokens, 17)


def test_a_whole_answer_takes_as_long_as_its_stream(bench: Bench) -> None:
    async def main() -> float:
        await ask(bench.create())
        return read_clock()

    assert run_virtually(main()) == pytest.approx(2.0)
    ((sent_s, count),) = bench.entries()[0].sent_s
    assert (round(sent_s, 6), count) == (2.0, 5)


def test_a_slow_client_moves_no_deadline(bench: Bench) -> None:
    async def main() -> None:
        async def emit(run: Sequence[str]) -> None:
            await bench.emit(run)
            if len(bench.runs) == 1:
                await asyncio.sleep(0.6)

        await bench.create().answer(Question(), "gpt-4", 0.0, emit)

    run_virtually(main())
    # Two fell due while the first was being sent; then it goes on as if nothing had been.
    assert [(at_s, len(run)) for at_s, run in bench.runs] == [(1.0, 1), (1.6, 2), (1.75, 1), (2.0, 1)]


def test_an_instant_answer_is_one_run_and_waits_for_nothing(bench: Bench) -> None:
    coroutine = ask(bench.create(PROFILES["instant"]), bench)

    async def main() -> None:
        # One step of the coroutine is all: it never gives way to the event loop.
        with pytest.raises(StopIteration):
            coroutine.send(None)

    run_virtually(main())
    assert len(bench.runs) == 1


@pytest.mark.parametrize(
    ("kind", "error", "fault", "ends_s", "given"),
    [
        ("error", ProviderFailedError, "provider-error", 1.0, 0),
        ("timeout", ProviderTimeoutError, "provider-timeout", 30.0, 0),
        ("rate_limited", ProviderRateLimitedError, "provider-rate-limited", 0.0, 0),
        ("truncated", ProviderTruncatedError, "provider-truncated", None, None),
    ],
)
@pytest.mark.parametrize("is_stream", [True, False])
def test_injected_failures_say_so(
    bench: Bench,
    kind: str,
    error: type[ProviderFailedError],
    fault: str,
    ends_s: float | None,
    given: int | None,
    is_stream: bool,
) -> None:
    async def main() -> tuple[ProviderFailedError, float]:
        with pytest.raises(error) as caught:
            await ask(bench.create(failure_ratio=1.0, failure_kind=kind), bench if is_stream else None)
        return caught.value, read_clock()

    raised, now_s = run_virtually(main())
    if kind == "truncated":
        given = int((now_s - 1.0) / 0.25 + 1e-9)
        ends_s = 1.0 + given * 0.25
        assert 1 <= given < 5
    assert now_s == pytest.approx(ends_s)
    assert len(bench.runs) == (given if is_stream else 0)
    assert (b"x-mock-fault", fault.encode()) in raised.headers
    assert (raised.error_type, raised.details) == ("injected", {"fault": fault})
    assert bench.pool.in_use == 0
    assert (bench.entries()[0].outcome, bench.entries()[0].fault) == ("failed", fault)


@pytest.mark.parametrize("kind", ["error", "timeout", "rate_limited", "truncated"])
def test_turning_failures_on_moves_no_latency(kind: str) -> None:
    def draw(ratio: float) -> list[tuple[float, float, int]]:
        bench = Bench(ProviderPool(100))

        async def main() -> None:
            provider = bench.create(PROFILES["gpt-4"], failure_ratio=ratio, failure_kind=kind)
            await asyncio.gather(*(ask(provider) for _ in range(50)), return_exceptions=True)

        run_virtually(main())
        return [(entry.first_token_s, entry.between_tokens_s, entry.tokens) for entry in bench.entries()]

    healthy = draw(0.0)
    assert len(set(healthy)) == 50
    assert draw(0.3) == draw(1.0) == healthy


def test_the_time_out_covers_the_stream_and_what_came_before_it(bench: Bench) -> None:
    async def main() -> float:
        with pytest.raises(ProviderTimeoutError) as caught:
            await ask(bench.create(timeout_s=1.6), bench)
        assert caught.value.headers == ()
        return read_clock()

    assert run_virtually(main()) == pytest.approx(1.6)
    assert [at_s for at_s, _ in bench.runs] == [1.0, 1.25, 1.5]


def test_waiting_for_a_place_counts_towards_the_time_out_and_alone_is_saturation() -> None:
    bench = Bench(ProviderPool(1))

    async def main() -> list[object]:
        provider = bench.create(timeout_s=3.0)
        return await asyncio.gather(*(ask(provider) for _ in range(3)), return_exceptions=True)

    first, second, third = run_virtually(main())
    assert isinstance(first, Completion)
    # In at 2 s, it had 1 s left; the third waited all of its 3 s.
    assert type(second) is ProviderTimeoutError
    assert isinstance(third, ProviderSaturatedError)
    assert bench.pool.in_use == 0
    assert [entry.waited_s for entry in bench.entries()] == pytest.approx([0, 2.0, 3.0])


def test_streams_hold_their_place_to_their_end_and_free_it_when_cancelled() -> None:
    bench = Bench(ProviderPool(2))

    async def main() -> None:
        provider = bench.create()
        streams = [asyncio.create_task(ask(provider, bench)) for _ in range(3)]
        await asyncio.sleep(1.4)
        assert bench.pool.in_use == 2
        streams[0].cancel()
        await asyncio.gather(*streams, return_exceptions=True)
        assert bench.pool.in_use == 0

    run_virtually(main())
    assert [entry.outcome for entry in bench.entries()] == ["cancelled", "completed", "completed"]
    assert [entry.waited_s for entry in bench.entries()] == pytest.approx([0, 0, 1.4])


def test_capacity_comes_before_the_first_token_and_is_shared_by_the_workers(bench: Bench) -> None:
    bench.workers = 2

    async def main() -> None:
        # 4 a second for both workers, in batches of 2: a full step of this one takes 1 s.
        provider = bench.create(capacity=4.0, batch_size=2)
        await asyncio.gather(ask(provider, bench), ask(provider), ask(provider))

    run_virtually(main())
    assert bench.runs[0][0] == pytest.approx(2.0)
    assert [entry.waited_s for entry in bench.entries()] == pytest.approx([1.0, 1.0, 1.75])


def test_a_queue_too_long_is_a_time_out() -> None:
    bench = Bench()

    async def main() -> list[object]:
        provider = bench.create(timeout_s=4.5, capacity=1.0, batch_size=1)
        outcomes: list[object] = await asyncio.gather(*(ask(provider) for _ in range(6)), return_exceptions=True)
        # The step under way goes on to its end, though nobody waits for it any more.
        await asyncio.sleep(1.0)
        return outcomes

    outcomes = run_virtually(main())
    assert [type(outcome) for outcome in outcomes] == [Completion] * 2 + [ProviderTimeoutError] * 4
    assert bench.pool.in_use == 0
    assert [entry.waited_s for entry in bench.entries()] == pytest.approx([1.0, 2.0, 3.0, 4.0, 4.5, 4.5])


def test_new_settings_are_for_later_calls() -> None:
    bench = Bench()

    async def main() -> list[Completion]:
        provider = bench.create()
        before = asyncio.create_task(ask(provider))
        await asyncio.sleep(0.5)
        provider.configure(replace(provider.config, latency=LatencyProfile((10.0, 10.0), 0.5, (2, 2))))
        return [await before, await ask(provider)]

    assert [completion.tokens for completion in run_virtually(main())] == [5, 2]


def create_unrecorded(pool: ProviderPool, **config: object) -> SimulatedProvider:
    around = Surroundings(pool, Clock(read_clock, read_clock), sleep_until)
    made = ProviderConfig(**{"latency": PROFILES["instant"], "timeout_s": 1.0, **config})  # type: ignore[arg-type]
    return SimulatedProvider("openai", made, around, create_stream(1), create_stream(2))


def test_an_instant_answer_waits_for_nothing_but_a_place() -> None:
    pool = ProviderPool(1)

    async def main() -> None:
        provider = create_unrecorded(pool)
        with pytest.raises(StopIteration):
            ask(provider).send(None)
        assert pool.has_entered()
        with pytest.raises(ProviderSaturatedError):
            await ask(provider)
        assert read_clock() == 1.0

    run_virtually(main())


def test_an_instant_provider_fails_and_is_held_back_like_any_other() -> None:
    async def main() -> float:
        provider = create_unrecorded(ProviderPool(1), failure_ratio=1.0)
        with pytest.raises(ProviderFailedError):
            await ask(provider)
        provider.configure(replace(provider.config, failure_ratio=0.0, capacity=2.0, batch_size=1))
        await ask(provider)
        return read_clock()

    assert run_virtually(main()) == 0.5
