"""Rate limits as text and as values: `N/second|minute|hour|day`, several joined with `;`."""

import re
from dataclasses import dataclass

_PERIODS_S = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_LIMIT = re.compile(r"\s*([0-9]{1,12})\s*/\s*(second|minute|hour|day)s?\s*", re.IGNORECASE)
MAX_COUNT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Limit:
    """`count` units admitted at once, refilled evenly over `period_s` seconds."""

    count: int
    period_s: int

    def __str__(self) -> str:
        name = next(name for name, period_s in _PERIODS_S.items() if period_s == self.period_s)
        return f"{self.count}/{name}"


def parse_limits(text: str) -> tuple[Limit, ...]:
    """Returns the limits in the order written; raises ValueError naming the part that is wrong."""
    return tuple(_parse_limit(part) for part in text.strip().removesuffix(";").split(";"))


def _parse_limit(part: str) -> Limit:
    match = _LIMIT.fullmatch(part)
    if match is None:
        raise ValueError(
            f"{part.strip()!r} is not a limit; write N/second, N/minute, N/hour or N/day, joined with ';'"
        )
    count = int(match[1])
    if not 1 <= count <= MAX_COUNT:
        raise ValueError(f"{part.strip()!r}: the count must be 1 to {MAX_COUNT}")
    return Limit(count, _PERIODS_S[match[2].lower()])
