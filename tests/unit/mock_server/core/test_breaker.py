from mock_server.core.breaker import BreakerConfig, BreakerState, CircuitBreaker, Permit, Refusal

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN


class Rig:
    """A breaker on a clock moved by hand, with the transitions it announced."""

    def __init__(self, **config: float) -> None:
        self.now_s = 0.0
        self.moves: list[tuple[BreakerState, BreakerState]] = []
        self.breaker = CircuitBreaker(
            BreakerConfig(**config),  # type: ignore[arg-type]
            lambda: self.now_s,
            lambda before, to: self.moves.append((before, to)),
        )

    def permit(self) -> Permit:
        permit = self.breaker.acquire()
        assert isinstance(permit, Permit)
        return permit

    def refusal(self) -> Refusal:
        refusal = self.breaker.acquire()
        assert isinstance(refusal, Refusal)
        return refusal

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.fail(self.permit())

    def succeed(self, times: int = 1) -> None:
        for _ in range(times):
            self.breaker.succeed(self.permit())


def test_b01_opens_on_exactly_the_fifth_consecutive_failure() -> None:
    rig = Rig()
    rig.fail(4)
    assert rig.breaker.state is CLOSED
    rig.fail()
    assert rig.breaker.state is OPEN
    assert rig.refusal() == Refusal(OPEN, 60.0)


def test_b02_success_resets_the_count() -> None:
    rig = Rig()
    rig.fail(4)
    rig.succeed()
    rig.fail(4)
    assert rig.breaker.state is CLOSED


def test_b03_stays_open_until_the_timeout_has_passed() -> None:
    rig = Rig()
    rig.fail(5)
    rig.now_s = 59.999
    assert rig.refusal().state is OPEN
    rig.now_s = 60.0
    rig.permit()
    assert rig.breaker.state is HALF_OPEN


def test_b04_half_open_admits_three_of_a_thousand() -> None:
    rig = Rig()
    rig.fail(5)
    rig.now_s = 60.0
    answers = [rig.breaker.acquire() for _ in range(1000)]
    assert sum(isinstance(answer, Permit) for answer in answers) == 3
    refused = [answer for answer in answers if isinstance(answer, Refusal)]
    assert len(refused) == 997
    assert all(refusal.state is HALF_OPEN and refusal.retry_after_s > 0 for refusal in refused)


def test_b05_closes_after_three_successes() -> None:
    rig = Rig()
    rig.fail(5)
    rig.now_s = 60.0
    rig.succeed(2)
    assert rig.breaker.state is HALF_OPEN
    rig.succeed()
    assert rig.breaker.state is CLOSED
    rig.fail(4)
    assert rig.breaker.state is CLOSED, "failures from before the trip must not count"


def test_b06_one_failure_reopens_and_restarts_the_timeout() -> None:
    rig = Rig()
    rig.fail(5)
    rig.now_s = 60.0
    rig.succeed(2)
    rig.fail()
    assert rig.breaker.state is OPEN
    rig.now_s = 119.999
    assert rig.refusal().state is OPEN
    rig.now_s = 120.0
    rig.permit()


def test_b07_released_probe_gives_its_permit_back() -> None:
    rig = Rig()
    rig.fail(5)
    rig.now_s = 60.0
    probes = [rig.permit() for _ in range(3)]
    rig.refusal()
    rig.breaker.release(probes[0])
    rig.permit()
    rig.refusal()


def test_b08_released_call_counts_as_nothing() -> None:
    rig = Rig()
    rig.fail(4)
    rig.breaker.release(rig.permit())
    assert rig.breaker.state is CLOSED
    rig.fail()
    assert rig.breaker.state is OPEN


def test_b09_result_from_before_the_trip_is_ignored() -> None:
    rig = Rig()
    early = rig.permit()
    rig.fail(5)
    rig.breaker.succeed(early)
    assert rig.breaker.state is OPEN
    rig.now_s = 60.0
    rig.permit()
    rig.breaker.fail(early)
    assert rig.breaker.state is HALF_OPEN


def test_b10_breakers_are_isolated() -> None:
    rigs = [Rig() for _ in range(10)]
    rigs[3].fail(5)
    assert [rig.breaker.state for rig in rigs].count(OPEN) == 1


def test_b12_probe_that_never_ends_is_reclaimed_and_counts_for_nothing() -> None:
    rig = Rig(half_open_max_calls=1, probe_timeout_s=10.0)
    rig.fail(5)
    rig.now_s = 60.0
    lost = rig.permit()
    rig.now_s = 69.9
    assert rig.refusal().state is HALF_OPEN
    rig.now_s = 70.0
    rig.permit()
    rig.breaker.fail(lost)
    assert rig.breaker.state is HALF_OPEN


def test_b13_events_are_the_transitions_and_a_broken_hook_changes_nothing() -> None:
    rig = Rig()
    rig.fail(5)
    rig.now_s = 60.0
    rig.succeed(3)
    assert rig.moves == [(CLOSED, OPEN), (OPEN, HALF_OPEN), (HALF_OPEN, CLOSED)]

    def broken(before: BreakerState, to: BreakerState) -> None:
        raise RuntimeError

    breaker = CircuitBreaker(BreakerConfig(failure_threshold=1), lambda: 0.0, broken)
    permit = breaker.acquire()
    assert isinstance(permit, Permit)
    breaker.fail(permit)
    assert breaker.state is OPEN


def test_probe_settled_twice_counts_once() -> None:
    rig = Rig()
    rig.fail(5)
    rig.now_s = 60.0
    probe = rig.permit()
    for _ in range(3):
        rig.breaker.succeed(probe)
    assert rig.breaker.state is HALF_OPEN


def test_reset_closes_it_from_any_state_and_forgets_failures_and_results_under_way() -> None:
    rig = Rig()
    rig.fail(4)
    late = rig.permit()
    rig.breaker.reset()
    rig.breaker.fail(late)
    rig.fail(4)
    assert (rig.breaker.state, rig.moves) == (CLOSED, [])
    rig.fail()
    assert rig.breaker.state is OPEN
    rig.breaker.reset()
    assert rig.moves == [(CLOSED, OPEN), (OPEN, CLOSED)]
    rig.fail(5)
    rig.now_s = 60.0
    probe = rig.permit()
    rig.breaker.reset()
    rig.breaker.fail(probe)
    assert rig.breaker.state is CLOSED
    rig.fail(4)
    assert rig.breaker.state is CLOSED
