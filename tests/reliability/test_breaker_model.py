"""The breaker against an independent model of it: 500 examples of 50 random steps."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mock_server.core.breaker import BreakerConfig, BreakerState, CircuitBreaker, Permit, Refusal

EXAMPLES, STEPS = 500, 50
# Multiples of a quarter of a second are exact in binary, so the model needs no tolerance.
TIMEOUT_S, PROBE_TIMEOUT_S = 60.0, 120.0
WAITS_S = (0.25, 1.0, 59.75, 60.0, 60.25, 119.75, 120.0)
_STATES = {"closed": BreakerState.CLOSED, "half-open": BreakerState.HALF_OPEN, "open": BreakerState.OPEN}


class Model:
    """The rules as the contract words them, with calls told apart by the era they began in."""

    def __init__(self, opens_after: int, closes_after: int, at_once: int):
        self.opens_after, self.closes_after, self.at_once = opens_after, closes_after, at_once
        self.state: Literal["closed", "open", "half-open"] = "closed"
        self.history: list[str] = ["closed"]
        self.era = self.row_of_failures = self.good_probes = 0
        self.opened_s = 0.0
        self.running: dict[int, float] = {}

    def go(self, to: Literal["closed", "open", "half-open"], now_s: float) -> None:
        self.state = to
        self.history.append(to)
        self.begin_era(now_s)

    def begin_era(self, now_s: float) -> None:
        self.era += 1
        self.row_of_failures = self.good_probes = 0
        self.running = {}
        self.opened_s = now_s

    def ask(self, call: int, now_s: float) -> str:
        """Returns "yes" or the state that refuses."""
        if self.state == "closed":
            return "yes"
        if self.state == "open":
            if now_s - self.opened_s < TIMEOUT_S:
                return "open"
            self.go("half-open", now_s)
        self.running = {one: since_s for one, since_s in self.running.items() if now_s - since_s < PROBE_TIMEOUT_S}
        if len(self.running) == self.at_once:
            return "half-open"
        self.running[call] = now_s
        return "yes"

    def end(self, call: int, era: int, outcome: str, now_s: float) -> None:
        if era != self.era:
            return
        if self.state == "half-open":
            since_s = self.running.pop(call, None)
            if since_s is None or now_s - since_s >= PROBE_TIMEOUT_S:
                return
        if outcome == "release":
            return
        if outcome == "succeed":
            self.row_of_failures = 0
            if self.state == "half-open":
                self.good_probes += 1
                if self.good_probes == self.closes_after:
                    self.go("closed", now_s)
        elif self.state == "half-open":
            self.go("open", now_s)
        else:
            self.row_of_failures += 1
            if self.row_of_failures == self.opens_after:
                self.go("open", now_s)


class BreakerMachine(RuleBasedStateMachine):
    steps = refusals = 0
    reached: ClassVar[set[BreakerState]] = set()

    @initialize(opens_after=st.integers(1, 5), closes_after=st.integers(1, 3), at_once=st.integers(1, 3))
    def begin(self, opens_after: int, closes_after: int, at_once: int) -> None:
        self.now_s = 0.0
        self.resets = 0
        self.calls: list[tuple[Permit, int]] = []
        self.ended: set[int] = set()
        self.events: list[BreakerState] = []
        self.model = Model(opens_after, closes_after, at_once)
        config = BreakerConfig(opens_after, closes_after, TIMEOUT_S, at_once, PROBE_TIMEOUT_S)
        self.breaker = CircuitBreaker(config, lambda: self.now_s, lambda _, to: self.events.append(to))

    @rule()
    def ask(self) -> None:
        self._ask()

    def _ask(self) -> None:
        expected = self.model.ask(len(self.calls), self.now_s)
        answer = self.breaker.acquire()
        if isinstance(answer, Refusal):
            type(self).refusals += 1
            assert answer.state is _STATES.get(expected)
            assert 0 < answer.retry_after_s <= (TIMEOUT_S if expected == "open" else 1.0)
        else:
            assert expected == "yes"
            self.calls.append((answer, self.model.era))

    @rule(outcome=st.sampled_from(["succeed", "fail", "fail", "release"]))
    def call(self, outcome: str) -> None:
        before = len(self.calls)
        self._ask()
        if len(self.calls) > before:
            self._end(before, outcome)

    @rule(data=st.data(), outcome=st.sampled_from(["succeed", "fail", "release"]))
    def end(self, data: st.DataObject, outcome: str) -> None:
        if self.calls:
            self._end(data.draw(st.integers(0, len(self.calls) - 1)), outcome)

    def _end(self, number: int, outcome: str) -> None:
        permit, era = self.calls[number]
        # A probe may be ended twice and counts once; an ordinary call is promised to end once.
        if number in self.ended and permit.probe is None:
            return
        self.ended.add(number)
        self.model.end(number, era, outcome, self.now_s)
        getattr(self.breaker, outcome)(permit)

    @rule(wait_s=st.sampled_from(WAITS_S))
    def wait(self, wait_s: float) -> None:
        self.now_s += wait_s

    @rule()
    def reset(self) -> None:
        """The control plane's; an unwanted one would shorten most of the stories."""
        self.resets += 1
        if self.resets % 4:
            return
        if self.model.state == "closed":
            self.model.begin_era(self.now_s)
        else:
            self.model.go("closed", self.now_s)
        self.breaker.reset()

    @rule()
    def look(self) -> None:
        """Looking takes no permit and moves nothing."""
        state = self.breaker.state
        self.breaker.refusal()
        assert self.breaker.state is state

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "model"):
            return
        type(self).steps += 1
        assert self.breaker.state is _STATES[self.model.state]
        assert self.events == [_STATES[name] for name in self.model.history[1:]]
        assert len(self.model.running) <= self.model.at_once
        self.reached.add(self.breaker.state)


def run_machine(examples: int) -> None:
    run_state_machine_as_test(
        BreakerMachine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=STEPS,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.fixture(autouse=True)
def _count() -> Iterator[None]:
    BreakerMachine.steps = BreakerMachine.refusals = 0
    BreakerMachine.reached = set()
    yield
    print(f"{BreakerMachine.steps:,} steps, {BreakerMachine.refusals:,} refusals")


def test_breaker_agrees_with_its_model_for_a_while() -> None:
    run_machine(40)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_breaker_agrees_with_its_model_for_25_000_steps() -> None:
    run_machine(EXAMPLES)
    # The simplest examples end early.
    while BreakerMachine.steps < EXAMPLES * STEPS:
        run_machine(50)
    assert BreakerMachine.reached == set(BreakerState)
