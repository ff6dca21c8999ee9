"""Turns with and without a stream: breaker, turnstile, sessions and metrics, in virtual time."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from mock_server.core.breaker import BreakerConfig, BreakerState, CircuitBreaker
from mock_server.core.clock import Clock
from mock_server.core.latency import LatencyProfile
from mock_server.core.models import PROVIDERS
from mock_server.core.randomness import create_stream
from mock_server.errors import (
    CircuitHalfOpenFullError,
    CircuitOpenError,
    ProviderFailedError,
    ProviderSaturatedError,
    ProviderTruncatedError,
    RequestError,
)
from mock_server.metrics import SHORT_BUCKETS_S, Metrics
from mock_server.services.consoul.conversation import Conversation, Question
from mock_server.services.consoul.pool import ProviderPool
from mock_server.services.consoul.provider import ProviderConfig, SimulatedProvider, Surroundings
from mock_server.state.memory_sessions import MemorySessions
from mock_server.state.sessions import Saved
from tests.unit.mock_server.virtual_time import read_clock, run_virtually, sleep_until

# First token after 1 s, then one each 0.25 s: 2 s in all.
PROFILE = LatencyProfile((2.0, 2.0), 0.5, (5, 5))


@dataclass
class Setup:
    """A conversation on memory in virtual time, with what a test looks into."""

    conversation: Conversation
    sessions: MemorySessions
    pool: ProviderPool
    registry: CollectorRegistry
    providers: dict[str, SimulatedProvider]
    breakers: dict[str, CircuitBreaker]

    def sample(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None
        return value


def create_setup(places: int = 10, **config: object) -> Setup:
    pool, registry, clock = ProviderPool(places), CollectorRegistry(), Clock(read_clock, read_clock)
    made = ProviderConfig(**{"latency": PROFILE, "timeout_s": 30.0, **config})  # type: ignore[arg-type]
    around = Surroundings(pool, clock, sleep_until)
    providers = {
        name: SimulatedProvider(name, made, around, create_stream(1, name), create_stream(2, name))
        for name in PROVIDERS
    }
    breakers = {name: CircuitBreaker(BreakerConfig(), read_clock) for name in PROVIDERS}
    sessions = MemorySessions(read_clock, 3600, 50)
    conversation = Conversation(sessions, providers, breakers, Metrics(registry, ["default"]), clock)
    return Setup(conversation, sessions, pool, registry, providers, breakers)


def ask(session_id: str = "s", transport: str = "sse") -> Question:
    return Question(session_id, "hello", None, None, "r1", transport)


async def ignore(_: Sequence[str]) -> None: ...


async def stream(setup: Setup, session_id: str = "s") -> object:
    try:
        return await setup.conversation.stream_turn(ask(session_id), ignore)
    except RequestError as error:
        return error


def test_a_stream_is_the_answer_is_saved_and_is_timed() -> None:
    async def main() -> None:
        setup, tokens = create_setup(), list[str]()

        async def emit(run: Sequence[str]) -> None:
            tokens.extend(run)

        reply = await setup.conversation.stream_turn(ask(), emit)
        assert "".join(tokens) == reply.response
        assert (reply.usage.output_tokens, reply.provider_s, reply.is_degraded) == (5, 2.0, False)
        saved = await setup.sessions.load("s")
        assert saved is not None
        assert saved.version == 1
        for name, count, total_s in (
            ("consoul_time_to_first_token_seconds", 1, 1.0),
            ("consoul_inter_token_latency_seconds", 4, 1.0),
        ):
            assert setup.sample(name + "_count", transport="sse") == count
            assert setup.sample(name + "_sum", transport="sse") == pytest.approx(total_s)
            assert setup.sample(name + "_count", transport="websocket") == 0
        assert setup.sample("consoul_provider_latency_seconds_sum", provider="openai") == 2.0
        assert setup.sample("consoul_token_usage_total", direction="output", model="gpt-4") == 5

    run_virtually(main())


def test_whole_answers_are_not_timed_as_streams() -> None:
    async def main() -> None:
        setup = create_setup()
        await setup.conversation.take_turn(ask(transport="http"))
        assert setup.sample("consoul_time_to_first_token_seconds_count", transport="sse") == 0

    run_virtually(main())


def test_tokens_due_at_once_have_no_gap_between_them() -> None:
    async def main() -> None:
        setup = create_setup(latency=LatencyProfile((1.0, 1.0), 1.0, (7, 7)))
        await setup.conversation.stream_turn(ask(), ignore)
        name = "consoul_inter_token_latency_seconds"
        assert setup.sample(name + "_count", transport="sse") == 6
        assert setup.sample(name + "_bucket", transport="sse", le=str(SHORT_BUCKETS_S[0])) == 6
        assert setup.sample(name + "_sum", transport="sse") == 0

    run_virtually(main())


def test_a_client_that_leaves_gives_everything_back_and_saves_nothing() -> None:
    async def main() -> None:
        setup = create_setup(places=1)
        leaving = asyncio.create_task(stream(setup))
        following = asyncio.create_task(stream(setup))
        await asyncio.sleep(1.3)
        assert setup.pool.in_use == 1
        leaving.cancel()
        await asyncio.sleep(0)
        await following
        assert leaving.cancelled()
        assert setup.pool.in_use == 0
        saved = await setup.sessions.load("s")
        assert saved is not None
        assert (saved.version, len(saved.tokens)) == (1, 2)
        assert setup.sample("consoul_token_usage_total", direction="output", model="gpt-4") == 5
        # Neither a success nor a failure.
        assert setup.breakers["openai"].state is BreakerState.CLOSED

    run_virtually(main())


def test_a_probe_that_is_cancelled_gives_its_permit_back() -> None:
    async def main() -> list[object]:
        setup = create_setup(failure_ratio=1.0, failure_kind="rate_limited")
        for number in range(5):
            await stream(setup, f"s{number}")
        setup.providers["openai"].configure(replace(setup.providers["openai"].config, failure_ratio=0.0))
        await asyncio.sleep(60.0)
        probes = [asyncio.create_task(stream(setup, f"p{number}")) for number in range(4)]
        await asyncio.sleep(0.5)
        assert isinstance(probes[3].result(), CircuitHalfOpenFullError)
        for probe in probes[:3]:
            probe.cancel()
        await asyncio.gather(*probes, return_exceptions=True)
        assert setup.breakers["openai"].state is BreakerState.HALF_OPEN
        return list(await asyncio.gather(*(stream(setup, f"q{number}") for number in range(3))))

    assert not any(isinstance(outcome, Exception) for outcome in run_virtually(main()))


@pytest.mark.parametrize("kind", ["error", "timeout", "rate_limited", "truncated"])
def test_five_failed_streams_open_the_breaker_and_the_sixth_costs_nothing(kind: str) -> None:
    async def main() -> None:
        setup = create_setup(failure_ratio=1.0, failure_kind=kind)
        failed = [await stream(setup, f"s{number}") for number in range(5)]
        assert all(isinstance(outcome, ProviderFailedError) for outcome in failed)
        assert setup.breakers["openai"].state is BreakerState.OPEN
        calls, now_s = setup.sample("consoul_provider_latency_seconds_count", provider="openai"), read_clock()
        for transport in ("http", "sse", "websocket", "batch"):
            with pytest.raises(CircuitOpenError):
                await setup.conversation.take_turn(ask("s9", transport))
        assert isinstance(await stream(setup, "s9"), CircuitOpenError)
        assert setup.sample("consoul_provider_latency_seconds_count", provider="openai") == calls == 5
        assert setup.sample("consoul_circuit_breaker_rejections_total", provider="openai") == 5
        assert read_clock() == now_s
        assert await setup.sessions.count() == 0

    run_virtually(main())


def test_a_truncated_stream_has_sent_its_tokens_and_saves_nothing() -> None:
    async def main() -> None:
        setup, tokens = create_setup(failure_ratio=1.0, failure_kind="truncated"), list[str]()

        async def emit(run: Sequence[str]) -> None:
            tokens.extend(run)

        with pytest.raises(ProviderTruncatedError):
            await setup.conversation.stream_turn(ask(), emit)
        assert 1 <= len(tokens) < 5
        assert await setup.sessions.load("s") is None

    run_virtually(main())


def test_a_full_pool_is_no_failure_of_the_provider() -> None:
    async def main() -> None:
        setup = create_setup(places=1, latency=LatencyProfile((20.0, 20.0), 1.0, (1, 1)), timeout_s=10.0)
        setup.pool.has_entered()
        outcomes = await asyncio.gather(*(stream(setup, f"s{number}") for number in range(9)))
        assert {type(outcome) for outcome in outcomes} == {ProviderSaturatedError}
        assert setup.breakers["openai"].state is BreakerState.CLOSED

    run_virtually(main())


def test_an_emit_that_fails_is_no_failure_of_the_provider() -> None:
    async def main() -> None:
        setup = create_setup()

        async def emit(_: Sequence[str]) -> None:
            raise ConnectionError

        for number in range(6):
            with pytest.raises(ConnectionError):
                await setup.conversation.stream_turn(ask(f"s{number}"), emit)
        assert setup.breakers["openai"].state is BreakerState.CLOSED
        assert setup.pool.in_use == 0

    run_virtually(main())


def test_turns_asked_at_once_give_everything_back_when_their_client_leaves() -> None:
    async def main() -> None:
        setup = create_setup(places=2)
        questions = [ask(transport="batch")] * 4
        leaving = asyncio.create_task(setup.conversation.take_turns_at_once(questions))
        await asyncio.sleep(0.5)
        assert setup.pool.in_use == 2
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        assert leaving.cancelled()
        assert setup.pool.in_use == 0
        assert await setup.sessions.load("s") is None
        replies = await setup.conversation.take_turns_at_once(questions)
        assert not [reply for reply in replies if isinstance(reply, RequestError)]
        # Two at a time, 2 s each, and the session was free at once.
        assert read_clock() == pytest.approx(4.5)

    run_virtually(main())


def test_a_client_that_leaves_during_the_save_frees_the_session() -> None:
    async def main() -> None:
        setup = create_setup()
        save = setup.sessions.append

        async def save_slowly(*arguments: Any) -> Saved:
            await asyncio.sleep(1.0)
            return await save(*arguments)

        setup.sessions.append = save_slowly  # type: ignore[assignment, method-assign]
        leaving = asyncio.create_task(stream(setup))
        await asyncio.sleep(2.5)
        leaving.cancel()
        assert not isinstance(await stream(setup), Exception)
        assert leaving.cancelled()
        assert read_clock() == pytest.approx(5.5)
        saved = await setup.sessions.load("s")
        assert saved is not None
        assert saved.version == 1
        assert setup.sample("consoul_token_usage_total", direction="output", model="gpt-4") == 5

    run_virtually(main())


def test_an_error_nobody_thought_of_ends_the_turns_asked_beside_it() -> None:
    async def main() -> None:
        setup = create_setup()
        answer, calls = setup.providers["openai"].answer, list[float]()

        async def fail_second(*arguments: Any) -> object:
            calls.append(read_clock())
            if len(calls) == 2:
                raise ZeroDivisionError
            return await answer(*arguments)

        setup.providers["openai"].answer = fail_second  # type: ignore[assignment, method-assign]
        with pytest.raises(ZeroDivisionError):
            await setup.conversation.take_turns_at_once([ask(transport="batch")] * 4)
        assert (setup.pool.in_use, read_clock()) == (0, 0.0)

    run_virtually(main())
