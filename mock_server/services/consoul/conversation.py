"""One turn of a conversation: load, ask the provider through its breaker, save. Knows no transport."""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import msgspec

from mock_server.core.breaker import BreakerState, CircuitBreaker, Refusal
from mock_server.core.clock import Clock
from mock_server.core.models import DEFAULT_MODEL, ModelCard, find_card
from mock_server.core.text import count_tokens
from mock_server.errors import (
    CircuitHalfOpenFullError,
    CircuitOpenError,
    ProviderFailedError,
    ProviderSaturatedError,
    SessionNotFoundError,
    format_time,
)
from mock_server.metrics import Metrics
from mock_server.services.consoul.models import Usage
from mock_server.services.consoul.provider import Completion, SimulatedProvider
from mock_server.state.sessions import Message, SessionStore, Turn, create_session
from mock_server.state.turnstile import Turnstile


class Question(msgspec.Struct, frozen=True, gc=False):
    """One turn asked for. `model` is used when the session is new; `transport` is one of metrics.TRANSPORTS."""

    session_id: str
    text: str
    model: str | None
    owner: str | None
    request_id: str
    transport: str


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What one turn gave; `provider_s` is the time spent on the provider."""

    response: str
    model: str
    usage: Usage
    timestamp: str
    provider_s: float
    is_degraded: bool


# Takes a run of tokens that are due at once; the stream goes on when it returns.
Emit = Callable[[Sequence[str]], Awaitable[None]]


class Conversation:
    """Takes turns on sessions: one at a time for each session, in order of arrival."""

    def __init__(
        self,
        sessions: SessionStore,
        providers: Mapping[str, SimulatedProvider],
        breakers: Mapping[str, CircuitBreaker] | None,
        metrics: Metrics,
        clock: Clock,
    ):
        self._sessions = sessions
        self._providers = providers
        self._breakers = breakers
        self._metrics = metrics
        self._clock = clock
        self._turnstile = Turnstile()

    async def stream_turn(self, question: Question, emit: Emit) -> Reply:
        """Hands the answer's tokens to `emit` as they come, returns once the turn is saved; raises as `take_turn`.

        Cancelled, it ends the call to the provider, saves nothing and gives back everything it held.
        """
        reply = await self.take_turn(question)
        await emit([*(word + " " for word in reply.response.split(" ")[:-1]), reply.response.split(" ")[-1]])
        return reply

    async def take_turn(self, question: Question) -> Reply:
        """Returns the provider's answer once the turn is saved.

        Raises SessionNotFoundError for another owner's session, StorageUnavailableError, CircuitOpenError,
        ProviderFailedError.
        """
        session_id, owner = question.session_id, question.owner
        await self._turnstile.acquire(session_id)
        try:
            session = await self._sessions.load(session_id)
            if session is None:
                session = create_session(question.model or DEFAULT_MODEL, owner, format_time(self._clock.wall_s()))
            elif session.owner != owner and owner is not None:
                raise SessionNotFoundError
            card = find_card(session.model)
            started_s = self._clock.monotonic_s()
            completion = await self._ask(card)
            provider_s = self._clock.monotonic_s() - started_s
            now = format_time(self._clock.wall_s())
            asked_tokens = count_tokens(question.text)
            turn = Turn(
                Message("user", question.text), asked_tokens, Message("assistant", completion.text), completion.tokens
            )
            saved = await self._sessions.append(session_id, session, turn, now)
            if saved.is_new:
                self._metrics.state.sessions_created.inc()
        finally:
            self._turnstile.release(session_id)
        usage = self._count(card, asked_tokens + sum(session.tokens), completion.tokens)
        return Reply(completion.text, session.model, usage, now, provider_s, saved.is_degraded)

    async def _ask(self, card: ModelCard) -> Completion:
        if self._breakers is None:
            return await self._call(card.provider)
        breaker = self._breakers[card.provider]
        permit = breaker.acquire()
        if isinstance(permit, Refusal):
            self._metrics.providers.rejections[card.provider].inc()
            kind = CircuitOpenError if permit.state is BreakerState.OPEN else CircuitHalfOpenFullError
            raise kind(retry_after_s=max(0.001, permit.retry_after_s))
        try:
            completion = await self._call(card.provider)
        except ProviderSaturatedError:
            # Our own pool was full: that says nothing about the provider.
            breaker.release(permit)
            raise
        except ProviderFailedError:
            breaker.fail(permit)
            raise
        except BaseException:
            breaker.release(permit)
            raise
        breaker.succeed(permit)
        return completion

    async def _call(self, provider: str) -> Completion:
        started_s = self._clock.monotonic_s()
        try:
            return await self._providers[provider].complete()
        finally:
            self._metrics.providers.latency[provider].observe(self._clock.monotonic_s() - started_s)

    def _count(self, card: ModelCard, given: int, answered: int) -> Usage:
        self._metrics.providers.input_tokens[card.name].inc(given)
        self._metrics.providers.output_tokens[card.name].inc(answered)
        return Usage(given, answered, given + answered, card.cost(given, answered))
