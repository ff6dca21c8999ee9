"""Numbers as people read them, and foreign text made harmless."""

import pytest

from loadtests.results.formats import (
    clean_text,
    format_bytes,
    format_clock,
    format_count,
    format_milliseconds,
    format_quantity,
    format_rate,
    format_ratio,
    format_seconds,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"), (0.0, "0.00 µs"), (0.00085, "850 µs"), (0.0503, "50.3 ms"), (0.9994, "999 ms"),
        (0.99951, "1.00 s"), (1.254, "1.25 s"), (75, "75.0 s"), (1234.5, "1,234 s"),
    ],
)  # fmt: skip
def test_seconds_have_three_digits(value: float | None, text: str) -> None:
    assert format_seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0 %"), (0.00001, "< 0.01 %"), (0.0042, "0.42 %"), (0.125, "12.5 %")]
)
def test_a_ratio_is_a_percentage_that_never_hides_an_error(value: float | None, text: str) -> None:
    assert format_ratio(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (499.83, "499.8/s"), (12345.4, "12,345/s"), (0.25, "0.25/s"), (10, "10/s")]
)
def test_rates(value: float | None, text: str) -> None:
    assert format_rate(value) == text


def test_other_figures() -> None:
    assert format_count(12345) == "12,345"
    assert format_count(None) == "–"
    assert [format_bytes(n) for n in (512, 1536, 12.3 * 1024**2)] == ["512 B", "1.50 KiB", "12.3 MiB"]
    assert [format_clock(t) for t in (5, 75.9, 3725)] == ["0:05", "1:15", "1:02:05"]
    assert format_milliseconds(0.0503) == "50.300"
    assert format_milliseconds(None) == ""


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.3, "s", "300 ms"), (9900, "/s", "9,900/s"), (0.01, "ratio", "1.00 %"), (0, "count", "0"),
        (85, "%", "85 %"), (0.5, "number", "0.5"), (200, "MB", "200 MB"), (None, "s", "–"),
    ],
)  # fmt: skip
def test_quantity_follows_its_unit(value: float | None, unit: str, text: str) -> None:
    assert format_quantity(value, unit) == text


@pytest.mark.parametrize(
    ("hostile", "clean"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9b31mred", "red"),
        ("a\nb\r\tc\u2028d", "a b  c d"),
        ("nul\x00l", "null"),
        ("\u202eright to left", "right to left"),
        ("\x1b]0;never ends", ""),
        ("lone \ud800 surrogate", "lone  surrogate"),
    ],
)
def test_control_sequences_are_stripped(hostile: str, clean: str) -> None:
    assert clean_text(hostile) == clean


def test_foreign_text_is_cut_at_200_characters() -> None:
    assert len(clean_text("x" * 5_000_000)) == 200
    assert clean_text("x" * 201).endswith("…")
    assert clean_text("x" * 200) == "x" * 200
