import pytest

from mock_server.core.limits import Limit, parse_limits


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        ("10/minute", (Limit(10, 60),)),
        ("100000000/minute", (Limit(100_000_000, 60),)),
        (" 5 / second ; 100/hours;", (Limit(5, 1), Limit(100, 3600))),
        ("1/Day", (Limit(1, 86_400),)),
    ],
)
def test_reads_every_period_and_joins(text: str, limits: tuple[Limit, ...]) -> None:
    assert parse_limits(text) == limits


@pytest.mark.parametrize(
    "text", ["", "10", "10/fortnight", "-1/minute", "0/minute", "1.5/second", "10/minute;;", "x/day"]
)
def test_refuses_anything_else_naming_the_part(text: str) -> None:
    with pytest.raises(ValueError, match="limit|count"):
        parse_limits(text)


def test_text_of_a_limit_is_what_was_read() -> None:
    assert [str(limit) for limit in parse_limits("60/minute;5/second")] == ["60/minute", "5/second"]
