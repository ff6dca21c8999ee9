"""Self-test of an arrival process: effect sizes that say whether it is what was asked for. Pure; constant memory."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from loadtests.schedule import Floats, Window

# A count below which chance alone moves the figure by more than a quarter of its tolerance (0.05, 0.05, 0.1):
# their standard errors are 1/sqrt(n), 1/sqrt(n) and sqrt(2/(n/4)).
ENOUGH_GAPS = 6_400
ENOUGH_FOR_DISPERSION = 12_800
# A worker's share of a stage is a whole number: below this, rounding alone moves the rate by over half a percent.
ENOUGH_FOR_RATE = 200
_PER_CELL = 4


@dataclass(frozen=True)
class Effects:
    """What was seen of an arrival process; None where there are too few arrivals to say, or it does not apply.

    rate_ratio: arrivals over the integral of the rate. gap_variation: standard deviation of the gaps over their mean
    (1 for Poisson). lag1_correlation: of each gap with the next (0). dispersion: variance over mean of the counts in
    equal cells (1).
    """

    count: int
    rate_ratio: float | None
    gap_variation: float | None
    lag1_correlation: float | None
    dispersion: float | None


class ArrivalCheck:
    """Folds the arrivals of one worker in one stage, on the time scale on which the asked rate is constant.

    On that scale (the integral of the rate) a ramp does not bias the figures. Only the rate is said of `constant`
    arrivals: their gaps are equal by design.
    """

    def __init__(self, window: Window, kind: Literal["poisson", "constant"], workers: int = 1) -> None:
        self._window = window
        self._kind = kind
        self._workers = workers
        self._count = 0
        self._last_area: float | None = None
        self._last_gap: float | None = None
        self._gaps = 0
        self._sum = self._squares = self._products = 0.0
        self._pairs = 0
        self._cell = self._in_cell = self._cells = 0
        self._cell_sum = self._cell_squares = 0.0

    def add(self, at_s: Floats) -> None:
        """Adds ascending arrival times."""
        if not at_s.size:
            return
        areas = self._window.areas(at_s) / self._workers
        self._count += areas.size
        self._add_gaps(np.diff(areas, prepend=areas[:1] if self._last_area is None else self._last_area))
        self._last_area = float(areas[-1])
        self._add_cells((areas / _PER_CELL).astype(np.int64))

    def effects(self) -> Effects:
        """The effect sizes of everything added so far."""
        expected = self._window.arrivals / self._workers
        rate_ratio = self._count / expected if expected >= ENOUGH_FOR_RATE else None
        if self._kind == "constant" or self._gaps < ENOUGH_GAPS:
            return Effects(self._count, rate_ratio, None, None, None)
        mean = self._sum / self._gaps
        variance = self._squares / self._gaps - mean**2
        variation = variance**0.5 / mean if variance > 0 else 0.0
        lag1 = (self._products / self._pairs - mean**2) / variance if variance > 0 else 1.0
        return Effects(self._count, rate_ratio, variation, lag1, self._dispersion())

    def _dispersion(self) -> float | None:
        if self._count < ENOUGH_FOR_DISPERSION or not self._cells:
            return None
        mean = self._cell_sum / self._cells
        return (self._cell_squares / self._cells - mean**2) / mean

    def _add_gaps(self, gaps: Floats) -> None:
        if self._last_area is None:
            gaps = gaps[1:]
        if not gaps.size:
            return
        self._gaps += gaps.size
        self._sum += float(gaps.sum())
        self._squares += float(np.dot(gaps, gaps))
        before = gaps[:-1] if self._last_gap is None else np.concatenate(([self._last_gap], gaps[:-1]))
        after = gaps[1:] if self._last_gap is None else gaps
        self._products += float(np.dot(before, after))
        self._pairs += after.size
        self._last_gap = float(gaps[-1])

    def _add_cells(self, cells: NDArray[np.int64]) -> None:
        """Counts the cells that are complete; the last one stays open for the next chunk."""
        counts = np.bincount(cells - self._cell)
        counts[0] += self._in_cell
        complete = counts[:-1].astype(np.float64)
        self._cells += complete.size
        self._cell_sum += float(complete.sum())
        self._cell_squares += float(np.dot(complete, complete))
        self._cell = int(cells[-1])
        self._in_cell = int(counts[-1])
