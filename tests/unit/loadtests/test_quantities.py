"""Durations and rates as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.quantities import format_duration, parse_duration, parse_rate


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("2m30s", 150), ("1h", 3600), ("500ms", 0.5), ("1.5s", 1.5), (12, 12), (0.25, 0.25), ("0s", 0)],
)
def test_durations(text: str | float, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "30", "s", "-5s", "30 seconds", "1s2m", -1, float("nan"), float("inf"), True])
def test_what_is_no_duration_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="want a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "rate"), [("500/s", 500), ("60/m", 1), ("3600/h", 1), ("0.5 / s", 0.5), (7, 7), (0, 0)]
)
def test_rates(text: str | float, rate: float) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["500", "5/d", "-5/s", "fast", -5, float("inf"), False])
def test_what_is_no_rate_is_refused(text: str | float) -> None:
    with pytest.raises(ValueError, match="want a rate"):
        parse_rate(text)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (0.5, "500ms"), (12.5, "12.5s"), (150, "2m30s"), (3600, "1h"), (90.4, "1m30s")]
)
def test_format(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@given(st.integers(0, 1_000_000))
def test_whole_seconds_survive(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds
