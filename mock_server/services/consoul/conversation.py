"""One turn of a conversation: load, ask the provider through its breaker, save. Knows no transport."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import msgspec

from mock_server.asgi import DEGRADED_HEADER
from mock_server.core.breaker import BreakerState, CircuitBreaker, Permit
from mock_server.core.clock import Clock
from mock_server.core.models import DEFAULT_MODEL, ModelCard, find_card
from mock_server.core.text import count_tokens
from mock_server.errors import (
    CircuitHalfOpenFullError,
    CircuitOpenError,
    ProviderFailedError,
    ProviderSaturatedError,
    RequestError,
    SessionNotFoundError,
    format_time,
)
from mock_server.metrics import Metrics, StreamMetrics
from mock_server.services.consoul.models import Usage
from mock_server.services.consoul.provider import Completion, Emit, SimulatedProvider
from mock_server.state.sessions import Ahead, Message, Session, SessionStore, Turn, create_session, forget
from mock_server.state.turnstile import Turnstile


class Question(msgspec.Struct, frozen=True, gc=False):
    """One turn asked for. `model` is used when the session is new; `transport` is one of metrics.TRANSPORTS."""

    session_id: str
    text: str
    model: str | None
    owner: str | None
    request_id: str
    transport: str
    role: str = "user"


class Reply(msgspec.Struct, frozen=True, gc=False):
    """What one turn gave; `provider_s` is the time spent on the provider."""

    response: str
    model: str
    usage: Usage
    timestamp: str
    provider_s: float
    is_degraded: bool


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
        self._breakers = breakers or {}
        self._metrics = metrics
        self._clock = clock
        self._turnstile = Turnstile()

    async def stream_turn(self, question: Question, emit: Emit) -> Reply:
        """Hands the answer's tokens to `emit` as they come, returns once the turn is saved; raises as `take_turn`.

        Cancelled, or when `emit` raises, it ends the call to the provider, saves nothing and gives back everything
        it held.
        """
        timed = _TimedEmit(emit, self._metrics.streams, question.transport, self._clock.monotonic_s)
        return await self.take_turn(question, timed)

    def look_ahead(self, session_id: str) -> Ahead | None:
        """Asks for a session before its turn is admitted; whoever does not go on to `take_turn` calls `forget`."""
        return self._sessions.ask(session_id)

    async def take_turn(self, question: Question, emit: Emit | None = None, ahead: Ahead | None = None) -> Reply:
        """Returns the provider's answer once the turn is saved; `ahead` is what `look_ahead` gave.

        Raises SessionNotFoundError for another owner's session, StorageUnavailableError, CircuitOpenError,
        ProviderFailedError.
        """
        session_id = question.session_id
        if ahead is not None and self._turnstile.is_held(session_id):
            # Whoever is in the session is about to change it.
            forget(ahead)
            ahead = None
        await self._turnstile.acquire(session_id)
        try:
            session = self._admit(question, await self._sessions.load(session_id, ahead))
            card = find_card(session.model)
            started_s = self._clock.monotonic_s()
            completion = await self._ask(question, card, session.model, started_s, emit)
            provider_s = self._clock.monotonic_s() - started_s
            now = format_time(self._clock.wall_s())
            turn = _build_turn(question, completion)
            saved = await self._sessions.append(session_id, session, turn, now)
            if saved.is_new:
                self._metrics.state.sessions_created.inc()
        except RequestError as error:
            self._mark(error, session_id)
            raise
        finally:
            self._turnstile.release(session_id)
        usage = self._count(card, turn.asked_tokens + sum(session.tokens), completion.tokens)
        return Reply(completion.text, session.model, usage, now, provider_s, saved.is_degraded)

    async def take_turns_at_once(self, questions: Sequence[Question]) -> list[Reply | RequestError]:
        """Asks the provider all questions of one session at once and saves the turns in their order.

        None sees another's turn. What fails stands in its place, and is not saved.
        """
        first = questions[0]
        await self._turnstile.acquire(first.session_id)
        try:
            session = self._admit(first, await self._sessions.load(first.session_id))
            asking = [asyncio.create_task(self._ask_aside(question, session)) for question in questions]
            try:
                answers = await asyncio.gather(*asking)
            except BaseException:
                await _cancel(asking)
                raise
            return [
                answer if isinstance(answer, RequestError) else await self._save_aside(question, session, *answer)
                for question, answer in zip(questions, answers, strict=True)
            ]
        except RequestError as error:
            self._mark(error, first.session_id)
            raise
        finally:
            self._turnstile.release(first.session_id)

    async def _ask_aside(self, question: Question, session: Session) -> tuple[Completion, float] | RequestError:
        started_s = self._clock.monotonic_s()
        try:
            completion = await self._ask(question, find_card(session.model), session.model, started_s, None)
        except RequestError as error:
            return self._mark(error, question.session_id)
        return completion, self._clock.monotonic_s() - started_s

    async def _save_aside(
        self, question: Question, session: Session, completion: Completion, provider_s: float
    ) -> Reply | RequestError:
        now, turn = format_time(self._clock.wall_s()), _build_turn(question, completion)
        try:
            saved = await self._sessions.append(question.session_id, session, turn, now)
        except RequestError as error:
            return self._mark(error, question.session_id)
        if saved.is_new:
            self._metrics.state.sessions_created.inc()
        given = turn.asked_tokens + sum(session.tokens)
        usage = self._count(find_card(session.model), given, completion.tokens)
        return Reply(completion.text, session.model, usage, now, provider_s, saved.is_degraded)

    def _mark(self, error: RequestError, session_id: str) -> RequestError:
        """Returns the error; it says so when memory stands in for Redis, as an answer would."""
        if self._sessions.stands_in(session_id):
            error.headers += (DEGRADED_HEADER,)
        return error

    def _admit(self, question: Question, session: Session | None) -> Session:
        """Returns the session a turn is taken on, a new one when there is none; raises SessionNotFoundError."""
        if session is None:
            return create_session(question.model or DEFAULT_MODEL, question.owner, format_time(self._clock.wall_s()))
        if session.owner != question.owner and question.owner is not None:
            raise SessionNotFoundError
        return session

    async def _ask(
        self, question: Question, card: ModelCard, model: str, started_s: float, emit: Emit | None
    ) -> Completion:
        name = card.provider
        permit = self._acquire(name)
        try:
            completion = await self._providers[name].answer(question, model, started_s, emit)
        except BaseException as error:
            if permit is not None:
                self._give_back(name, permit, error)
            raise
        finally:
            self._metrics.providers.latency[name].observe(self._clock.monotonic_s() - started_s)
        if permit is not None:
            self._breakers[name].succeed(permit)
        return completion

    def _acquire(self, name: str) -> Permit | None:
        if not self._breakers:
            return None
        permit = self._breakers[name].acquire()
        if isinstance(permit, Permit):
            return permit
        self._metrics.providers.rejections[name].inc()
        kind = CircuitOpenError if permit.state is BreakerState.OPEN else CircuitHalfOpenFullError
        raise kind(retry_after_s=max(0.001, permit.retry_after_s))

    def _give_back(self, name: str, permit: Permit, error: BaseException) -> None:
        # That our own pool was full, or that the client left, says nothing about the provider.
        if isinstance(error, ProviderFailedError) and not isinstance(error, ProviderSaturatedError):
            self._breakers[name].fail(permit)
        else:
            self._breakers[name].release(permit)

    def _count(self, card: ModelCard, given: int, answered: int) -> Usage:
        self._metrics.providers.count_input[card.name](given)
        self._metrics.providers.count_output[card.name](answered)
        return Usage(given, answered, given + answered, card.cost(given, answered))


def _build_turn(question: Question, completion: Completion) -> Turn:
    return Turn(
        Message(question.role, question.text),
        count_tokens(question.text),
        Message("assistant", completion.text),
        completion.tokens,
    )


async def _cancel(tasks: Sequence[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


class _TimedEmit:
    """Times the runs of one stream's tokens at the moment each is handed to the transport."""

    def __init__(self, emit: Emit, metrics: StreamMetrics, transport: str, monotonic_s: Callable[[], float]):
        self._emit = emit
        self._first = metrics.time_to_first_token[transport]
        self._gaps = metrics.token_gaps[transport]
        self._monotonic_s = monotonic_s
        self._last_s = monotonic_s()
        self._has_begun = False

    def __call__(self, run: Sequence[str]) -> Awaitable[None]:
        now_s = self._monotonic_s()
        waited_s = now_s - self._last_s
        self._last_s = now_s
        if self._has_begun:
            self._gaps.observe(waited_s, len(run) - 1)
        else:
            self._has_begun = True
            self._first.observe(waited_s)
            self._gaps.observe(None, len(run) - 1)
        return self._emit(run)
