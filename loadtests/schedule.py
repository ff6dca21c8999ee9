"""When which load is due: one absolute clock of stages, levels and arrivals. Pure: no clock, no chance of its own.

Times are seconds since the start of the run. An area is an expected number of arrivals: the integral of the rate.
"""

import math
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray

from loadtests.model import Profile, Stage

Floats = NDArray[np.float64]
_CHUNK = 8192


@dataclass(frozen=True, slots=True)
class Window:
    """One stage on the clock: its level (users, or arrivals a second) goes linearly from `before` to `level`."""

    index: int
    name: str
    start_s: float
    ramp_s: float
    end_s: float
    before: float
    level: float

    @property
    def arrivals(self) -> float:
        """Expected number of arrivals in the whole window."""
        return self.area(self.end_s)

    def level_at(self, at_s: float) -> float:
        """Level at a moment of this window."""
        elapsed_s = at_s - self.start_s
        if elapsed_s >= self.ramp_s:
            return self.level
        return self.before + (self.level - self.before) * elapsed_s / self.ramp_s

    def area(self, at_s: float) -> float:
        """Integral of the level from the window's start to a moment, clipped to the window."""
        return float(self.areas(np.array([at_s]))[0])

    def areas(self, at_s: Floats) -> Floats:
        """`area` of many moments."""
        elapsed_s = np.clip(at_s, self.start_s, self.end_s) - self.start_s
        ramped_s = np.minimum(elapsed_s, self.ramp_s)
        slope = (self.level - self.before) / self.ramp_s if self.ramp_s else 0.0
        return self.before * ramped_s + slope * ramped_s**2 / 2 + self.level * (elapsed_s - ramped_s)

    def times(self, areas: Floats) -> Floats:
        """The moments at which the areas are reached: the exact inverse of `areas`, ramps included."""
        ramp_area = (self.before + self.level) / 2 * self.ramp_s
        slope = (self.level - self.before) / self.ramp_s if self.ramp_s else 0.0
        # The stable form of the quadratic's root: it has no cancellation and also holds for slope 0.
        root = np.sqrt(np.maximum(self.before**2 + 2 * slope * areas, 0.0))
        divisor = self.before + root
        in_ramp_s = np.divide(2 * areas, divisor, out=np.zeros_like(areas), where=divisor > 0)
        behind = (areas >= ramp_area) & (self.level > 0)
        after_s = np.divide(areas - ramp_area, self.level, out=np.zeros_like(areas), where=behind)
        elapsed_s = np.where(areas < ramp_area, np.minimum(in_ramp_s, self.ramp_s), self.ramp_s + after_s)
        return np.minimum(self.start_s + elapsed_s, self.end_s)


@dataclass(frozen=True)
class Schedule:
    """The stages of a profile, laid end to end from time 0."""

    windows: tuple[Window, ...]
    is_open: bool

    @classmethod
    def of(cls, profile: Profile) -> Self:
        """The schedule a profile declares; `spawn_rate` becomes the ramp it implies."""
        windows: list[Window] = []
        start_s, before = 0.0, 0.0
        for index, stage in enumerate(profile.stages):
            level = float(stage.rate if stage.rate is not None else stage.users or 0)
            ramp_s = implied_ramp_s(stage, before)
            if ramp_s == 0:
                before = level
            windows.append(Window(index, stage.name, start_s, ramp_s, start_s + stage.duration_s, before, level))
            start_s, before = start_s + stage.duration_s, level
        return cls(tuple(windows), profile.is_open)

    @property
    def end_s(self) -> float:
        """The end of the last stage."""
        return self.windows[-1].end_s

    def window_at(self, at_s: float) -> Window | None:
        """The stage a moment lies in (its start included, its end not); None before the start and after the end."""
        if not 0 <= at_s < self.end_s:
            return None
        return self.windows[bisect_right(self.windows, at_s, key=lambda window: window.start_s) - 1]

    def steps(self, period_s: float) -> Iterator[tuple[float, int]]:
        """The moments at which users are set, and to how many: those of the middle of the time until the next.

        So a ramp is neither ahead nor late. Every stage begins with a step; no two are less than a period apart, nor
        is a step from the end, where stages last a period at least.
        """
        for window in self.windows:
            count = max(1, math.floor((window.end_s - window.start_s) / period_s + 1e-9))
            for number in range(count):
                at_s = window.start_s + number * period_s
                until_s = at_s + period_s if number < count - 1 else window.end_s
                yield at_s, math.floor(window.level_at((at_s + until_s) / 2) + 0.5)

    def expected_arrivals(self, from_s: float, to_s: float) -> float:
        """Integral of the level between two moments."""
        return sum(window.area(to_s) - window.area(from_s) for window in self.windows)


def implied_ramp_s(stage: Stage, before: float) -> float:
    """Length of a stage's ramp from the level before it: `ramp`, or what `spawn_rate` implies, or 0."""
    if stage.spawn_rate is not None and stage.users is not None:
        return abs(stage.users - before) / stage.spawn_rate
    return stage.ramp_s or 0.0


def substream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for each name under one seed, so that no two users of chance share their draws."""
    key = tuple(zlib.crc32(str(name).encode()) for name in names)
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


def share(total: int, worker: int, workers: int) -> int:
    """How many of `total` things fall to one of several workers; the shares add up to `total`."""
    return total // workers + (worker < total % workers)


def arrival_times(
    window: Window, kind: Literal["poisson", "constant"], seed: int, worker: int, workers: int
) -> Iterator[Floats]:
    """The ascending arrival times of one worker in one stage, in chunks, so that memory does not grow with length.

    `constant`: the moments at which the integral of the rate reaches 0, 1, 2, …; workers take turns.
    `poisson`: a Poisson process given its count, round(integral): the order statistics of that many uniform draws
    (as sums of exponential gaps over their total), so that the rate asked for is met exactly in every stage.
    """
    if kind == "constant":
        for first in range(worker, math.ceil(window.arrivals - 1e-9), workers * _CHUNK):
            last = min(first + workers * _CHUNK, math.ceil(window.arrivals - 1e-9))
            yield window.times(np.arange(first, last, workers, dtype=np.float64))
        return
    count = share(round(window.arrivals), worker, workers)
    total = sum(float(gaps.sum()) for gaps in _gaps(count, seed, window.name, worker))
    reached, left = 0.0, count
    for gaps in _gaps(count, seed, window.name, worker):
        sums = reached + np.cumsum(gaps)
        reached = float(sums[-1])
        # The last gap of all lies behind the last arrival.
        if left:
            yield window.times(sums[:left] / total * window.arrivals)
        left -= min(left, gaps.size)


def _gaps(count: int, seed: int, stage: str, worker: int) -> Iterator[Floats]:
    """The `count + 1` gaps around `count` arrivals, the same each time they are asked for."""
    generator = substream(seed, "arrivals", stage, worker)
    left = count + 1
    while left:
        size = min(left, _CHUNK)
        yield generator.standard_exponential(size)
        left -= size
