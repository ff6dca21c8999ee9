"""The two clocks every timed part is given; reads no clock itself."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """`monotonic_s` for durations and deadlines, `wall_s` (seconds since 1970, UTC) for timestamps only."""

    monotonic_s: Callable[[], float]
    wall_s: Callable[[], float]
