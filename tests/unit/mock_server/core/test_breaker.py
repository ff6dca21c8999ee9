"""What the rows of group B in tests/reliability do not say of the breaker."""

from mock_server.core.breaker import BreakerState, Refusal
from tests.unit.mock_server.core.breaker_rig import Rig

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN


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


def test_asking_why_takes_no_permit_and_moves_nothing() -> None:
    rig = Rig(half_open_max_calls=1)
    assert rig.breaker.refusal() is None
    rig.fail(5)
    assert rig.breaker.refusal() == Refusal(OPEN, 60.0)
    rig.now_s = 60.0
    assert [rig.breaker.refusal() for _ in range(3)] == [None] * 3
    assert rig.breaker.state is OPEN
    rig.permit()
    assert rig.breaker.refusal() == Refusal(HALF_OPEN, 1.0)


def test_full_half_open_says_when_the_oldest_probe_is_given_up() -> None:
    rig = Rig(half_open_max_calls=2, probe_timeout_s=10.0)
    rig.fail(5)
    rig.now_s = 60.0
    rig.permit()
    rig.now_s = 69.5
    rig.permit()
    assert rig.refusal().retry_after_s == 0.5


def test_an_overdue_probe_counts_for_nothing_whether_or_not_anybody_asked_meanwhile() -> None:
    for has_asked in (True, False):
        rig = Rig(half_open_max_calls=1, probe_timeout_s=10.0)
        rig.fail(5)
        rig.now_s = 60.0
        late = rig.permit()
        rig.now_s = 70.0
        if has_asked:
            rig.breaker.refusal()
        rig.breaker.fail(late)
        assert rig.breaker.state is HALF_OPEN
        rig.permit()
