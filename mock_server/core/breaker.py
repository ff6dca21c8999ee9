"""Circuit breaker of one provider: a state machine on a clock it is given; never waits and never calls anything.

Semantics are those of resilience4j's count of consecutive failures, with a cap on calls admitted while half-open.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum


class BreakerState(IntEnum):
    """Values are those of the gauge `consoul_circuit_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """Thresholds count calls; times are seconds. `probe_timeout_s` reclaims a half-open permit never given back."""

    failure_threshold: int = 5
    success_threshold: int = 3
    timeout_s: float = 60.0
    half_open_max_calls: int = 3
    probe_timeout_s: float = 120.0


@dataclass(frozen=True, slots=True)
class Permit:
    """Leave to make one call; valid only in the generation that gave it."""

    generation: int
    probe: int | None = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The breaker's no: the state it was in and the seconds until asking again makes sense."""

    state: BreakerState
    retry_after_s: float


Hook = Callable[[BreakerState, BreakerState], None]


class CircuitBreaker:
    """Admits calls while closed, refuses while open, probes while half-open.

    Every `acquire` that returns a `Permit` is followed by exactly one of `succeed`, `fail` or `release`.
    A result that arrives after the state changed counts for nothing.
    """

    def __init__(self, config: BreakerConfig, monotonic_s: Callable[[], float], on_transition: Hook | None = None):
        self._config = config
        self._monotonic_s = monotonic_s
        self._on_transition = on_transition
        self._state = BreakerState.CLOSED
        self._generation = 0
        self._failures = 0
        self._successes = 0
        self._opened_at_s = 0.0
        self._next_probe = 0
        self._probe_deadlines_s: dict[int, float] = {}
        self._closed_permit = Permit(0)

    @property
    def state(self) -> BreakerState:
        """The state as of the last call; an open breaker turns half-open when next asked, not by itself."""
        return self._state

    def acquire(self) -> Permit | Refusal:
        """Returns a permit to call, or why not."""
        if self._state is BreakerState.CLOSED:
            return self._closed_permit
        refusal = self.refusal()
        if refusal is not None:
            return refusal
        if self._state is BreakerState.OPEN:
            self._move(BreakerState.HALF_OPEN)
        self._next_probe += 1
        self._probe_deadlines_s[self._next_probe] = self._monotonic_s() + self._config.probe_timeout_s
        return Permit(self._generation, self._next_probe)

    def refusal(self) -> Refusal | None:
        """Returns the refusal `acquire` would give now, or None; takes no permit."""
        if self._state is BreakerState.CLOSED:
            return None
        now_s = self._monotonic_s()
        if self._state is BreakerState.OPEN:
            left_s = self._opened_at_s + self._config.timeout_s - now_s
            return Refusal(BreakerState.OPEN, left_s) if left_s > 0 else None
        self._reclaim(now_s)
        if len(self._probe_deadlines_s) < self._config.half_open_max_calls:
            return None
        soonest_s = min(self._probe_deadlines_s.values()) - now_s
        return Refusal(BreakerState.HALF_OPEN, min(1.0, soonest_s))

    def succeed(self, permit: Permit) -> None:
        """Records that the permitted call succeeded."""
        if not self._give_back(permit):
            return
        if self._state is BreakerState.CLOSED:
            self._failures = 0
            return
        self._successes += 1
        if self._successes >= self._config.success_threshold:
            self._move(BreakerState.CLOSED)

    def fail(self, permit: Permit) -> None:
        """Records that the permitted call failed."""
        if not self._give_back(permit):
            return
        if self._state is BreakerState.HALF_OPEN:
            self._move(BreakerState.OPEN)
            return
        self._failures += 1
        if self._failures >= self._config.failure_threshold:
            self._move(BreakerState.OPEN)

    def release(self, permit: Permit) -> None:
        """Gives the permit back without a result: the call was cancelled, or its outcome says nothing."""
        self._give_back(permit)

    def reset(self) -> None:
        """Closes it and forgets its count, whatever its state; results of calls under way count for nothing."""
        if self._state is BreakerState.CLOSED:
            self._begin_generation()
        else:
            self._move(BreakerState.CLOSED)

    def _give_back(self, permit: Permit) -> bool:
        """Returns whether a result under this permit still counts."""
        if permit.generation != self._generation:
            return False
        if permit.probe is None:
            return True
        deadline_s = self._probe_deadlines_s.pop(permit.probe, None)
        # Overdue, it counts for nothing even when nobody has asked for its place.
        return deadline_s is not None and deadline_s > self._monotonic_s()

    def _reclaim(self, now_s: float) -> None:
        for probe, deadline_s in list(self._probe_deadlines_s.items()):
            if deadline_s <= now_s:
                del self._probe_deadlines_s[probe]

    def _move(self, to: BreakerState) -> None:
        before, self._state = self._state, to
        self._begin_generation()
        if to is BreakerState.OPEN:
            self._opened_at_s = self._monotonic_s()
        if self._on_transition is not None:
            # An observer's bug must not change what the breaker decides or reach the request that tripped it.
            with contextlib.suppress(Exception):
                self._on_transition(before, to)

    def _begin_generation(self) -> None:
        self._generation += 1
        self._closed_permit = Permit(self._generation)
        self._failures = self._successes = 0
        self._probe_deadlines_s.clear()
