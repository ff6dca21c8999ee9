"""Axes: a range to nice ticks, a value to a coordinate."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_TIME_STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 28800)


@dataclass(frozen=True)
class Scale:
    """Maps `low`..`high` to pixels `start`..`end`, linearly or by logarithm; values outside are held at the edge."""

    low: float
    high: float
    start: float
    end: float
    is_log: bool = False

    def place(self, value: float) -> float:
        """The pixel of a value, to a tenth."""
        low, high = self.low, self.high
        value = min(max(value, low), high)
        if self.is_log:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        share = (value - low) / (high - low) if high > low else 0.0
        return round(self.start + share * (self.end - self.start), 1)


def linear_ticks(high: float, count: int = 4) -> list[float]:
    """Round ticks from 0 to the first one at or above `high`, about `count` steps of 1, 2, 2.5 or 5 times ten."""
    if high <= 0 or not math.isfinite(high):
        return [0.0, 1.0]
    raw = high / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    steps = math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(steps + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Ticks at 1, 2 and 5 (or powers of ten only, over wide ranges) that enclose the range."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    factors = (1,) if last - first > 3 else (1, 2, 5)
    every = [factor * 10.0**power for power in range(first, last + 1) for factor in factors]
    inside = [tick for tick in every if low < tick < high]
    below = max((tick for tick in every if tick <= low), default=every[0])
    above = min((tick for tick in every if tick >= high), default=every[-1])
    return [below, *inside, above]


def time_ticks(duration_s: float, count: int) -> list[float]:
    """At most about `count` ticks at whole clock steps from 0."""
    step = next((s for s in _TIME_STEPS_S if duration_s / s <= count), _TIME_STEPS_S[-1])
    return [float(t) for t in range(0, math.floor(duration_s) + 1, step)]


def spread_labels(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Positions near the wanted ones, in their order, at least `gap` apart and inside `low`..`high`."""
    # Among equals the first of the list comes lowest, as curves are listed from low to high.
    order = sorted(range(len(wanted)), key=lambda i: (wanted[i], -i))
    placed = [0.0] * len(wanted)
    floor = low
    for index in order:
        placed[index] = max(wanted[index], floor)
        floor = placed[index] + gap
    ceiling = high
    for index in reversed(order):
        placed[index] = min(placed[index], ceiling)
        ceiling = placed[index] - gap
    return placed
