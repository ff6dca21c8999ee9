"""The self-test of arrivals: silent about a true process, loud about a wrong one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.arrivals import ArrivalCheck, Effects
from loadtests.schedule import Floats, Window, arrival_times

HOLD = Window(0, "hold", 0, 0, 60, 0, 500)
RAMP = Window(0, "ramp", 0, 60, 60, 0, 1000)


def check(window: Window, at_s: Floats, pieces: int = 1) -> Effects:
    test = ArrivalCheck(window, "poisson")
    for piece in np.array_split(at_s, pieces):
        test.add(piece)
    return test.effects()


@pytest.mark.parametrize("window", [HOLD, RAMP], ids=["hold", "ramp"])
@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_what_we_draw_passes_on_a_ramp_too(window: Window, seed: int) -> None:
    test = ArrivalCheck(window, "poisson")
    for chunk in arrival_times(window, "poisson", seed, 0, 1):
        test.add(chunk)
    seen = test.effects()
    assert seen.count == 30_000
    assert seen.rate_ratio == pytest.approx(1)
    assert seen.gap_variation == pytest.approx(1, abs=0.05)
    assert seen.lag1_correlation == pytest.approx(0, abs=0.05)
    assert seen.dispersion == pytest.approx(1, abs=0.1)


def test_chunks_change_nothing() -> None:
    at_s = np.sort(np.random.default_rng(1).uniform(0, 60, 30_000))
    whole, split = check(HOLD, at_s), check(HOLD, at_s, pieces=997)
    for name in ("count", "rate_ratio", "gap_variation", "lag1_correlation", "dispersion"):
        assert getattr(whole, name) == pytest.approx(getattr(split, name)), name


def test_bursts_are_seen() -> None:
    at_s = np.floor(np.linspace(0, 59.99, 30_000) * 10) / 10
    seen = check(HOLD, at_s)
    assert seen.gap_variation is not None
    assert seen.gap_variation > 2
    assert seen.dispersion is not None
    assert seen.dispersion > 2


def test_equal_gaps_are_seen() -> None:
    seen = check(HOLD, np.linspace(0, 59.99, 30_000))
    assert seen.gap_variation == pytest.approx(0, abs=0.01)
    assert seen.dispersion == pytest.approx(0, abs=0.1)


def test_gaps_that_repeat_one_another_are_seen() -> None:
    gaps = np.repeat(np.random.default_rng(1).exponential(1 / 500, 15_000), 2)
    seen = check(HOLD, np.cumsum(gaps))
    assert seen.lag1_correlation == pytest.approx(0.5, abs=0.05)


def test_missing_arrivals_are_seen() -> None:
    at_s = np.sort(np.random.default_rng(1).uniform(0, 60, 29_000))
    assert check(HOLD, at_s).rate_ratio == pytest.approx(29 / 30)


def test_too_few_say_nothing() -> None:
    few = Window(0, "few", 0, 0, 1, 0, 100)
    assert check(few, np.linspace(0, 0.99, 100)) == Effects(100, None, None, None, None)
    assert check(few, np.array([])) == Effects(0, None, None, None, None)


def test_constant_arrivals_are_judged_by_their_rate_only() -> None:
    test = ArrivalCheck(HOLD, "constant")
    for chunk in arrival_times(HOLD, "constant", 1, 0, 1):
        test.add(chunk)
    assert test.effects() == Effects(30_000, 1.0, None, None, None)
