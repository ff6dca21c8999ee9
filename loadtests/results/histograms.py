"""Distributions of measured times: merged bit for bit, read by percentile, at HdrHistogram's three digits.

Values are microseconds in the range of the wire; what leaves here is seconds.
"""

import math
from collections.abc import Iterable
from typing import Any, Self

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from loadtests.wire import HISTOGRAM_DIGITS, HISTOGRAM_HIGHEST_US, HISTOGRAM_LOWEST_US

_US_PER_S = 1_000_000
_RANK_FUZZ = 1e-9


def _empty() -> Any:
    return HdrHistogram(HISTOGRAM_LOWEST_US, HISTOGRAM_HIGHEST_US, HISTOGRAM_DIGITS)


_reference = _empty()
_LENGTH: int = _reference.counts_len
_LOWEST_US: NDArray[np.int64] = np.array([_reference.get_value_from_index(i) for i in range(_LENGTH)], dtype=np.int64)
_SIZE_US: NDArray[np.int64] = np.diff(_LOWEST_US, append=2 * _LOWEST_US[-1] - _LOWEST_US[-2])
_MIDDLE_US: NDArray[np.float64] = _LOWEST_US + _SIZE_US / 2


class Distribution:
    """Counts of one timed metric; a value is known to its bucket (0.1 %, or 8 µs below 16 ms)."""

    def __init__(self) -> None:
        self._counts: NDArray[np.int64] = np.zeros(_LENGTH, dtype=np.int64)

    @classmethod
    def of(cls, payloads: Iterable[str]) -> Self:
        """The union of encoded histograms; raises ValueError for one that is not of the wire's range and digits."""
        union = cls()
        for payload in payloads:
            union.add_encoded(payload)
        return union

    def add_encoded(self, payload: str) -> None:
        """Adds one histogram as it travels: HdrHistogram V2, compressed, base64."""
        try:
            histogram = HdrHistogram.decode(payload)
        except Exception as error:  # noqa: BLE001 - the library raises zlib, struct, binascii and its own errors
            raise ValueError(f"not an encoded histogram ({error}): {payload[:40]!r}") from None
        if histogram.counts_len != _LENGTH or histogram.unit_magnitude != _reference.unit_magnitude:
            raise ValueError(
                f"histogram of {histogram.lowest_trackable_value}..{histogram.highest_trackable_value} µs with "
                f"{histogram.significant_figures} digits; want {HISTOGRAM_LOWEST_US}..{HISTOGRAM_HIGHEST_US} with "
                f"{HISTOGRAM_DIGITS}"
            )
        self._counts += np.frombuffer(histogram.counts, dtype=np.uint64).astype(np.int64)

    def merge(self, other: "Distribution") -> None:
        """Adds every count of another distribution."""
        self._counts += other._counts

    def encode(self) -> str:
        """The distribution as one HdrHistogram payload."""
        histogram = _empty()
        for index in np.flatnonzero(self._counts):
            histogram.record_value(int(_LOWEST_US[index]), int(self._counts[index]))
        return str(histogram.encode().decode("ascii"))

    @property
    def count(self) -> int:
        """Number of values held."""
        return int(self._counts.sum())

    @property
    def mean_s(self) -> float | None:
        """Arithmetic mean in seconds, None when empty."""
        total = self.count
        return float((self._counts * _MIDDLE_US).sum() / total) / _US_PER_S if total else None

    @property
    def min_s(self) -> float | None:
        """Smallest value in seconds, None when empty."""
        used = np.flatnonzero(self._counts)
        return _seconds(int(used[0])) if used.size else None

    @property
    def max_s(self) -> float | None:
        """Largest value in seconds, None when empty."""
        used = np.flatnonzero(self._counts)
        return _seconds(int(used[-1])) if used.size else None

    def percentiles_s(self, percentiles: Iterable[float]) -> list[float | None]:
        """Values in seconds by nearest rank (the k-th smallest, k = ceil(p/100 · n)); None for each when empty."""
        cumulative = np.cumsum(self._counts)
        total = int(cumulative[-1])
        wanted = list(percentiles)
        if not total:
            return [None] * len(wanted)
        ranks = [max(1, math.ceil(p / 100 * total - _RANK_FUZZ)) for p in wanted]
        return [_seconds(int(np.searchsorted(cumulative, rank))) for rank in ranks]

    def percentile_s(self, percentile: float, *, endless: int = 0) -> float | None:
        """One percentile in seconds, None when empty; infinite where it lies among `endless` values beside them."""
        total = self.count
        if not endless or not total:
            return self.percentiles_s([percentile])[0]
        rank = max(1, math.ceil(percentile / 100 * (total + endless) - _RANK_FUZZ))
        return _seconds(int(np.searchsorted(np.cumsum(self._counts), rank))) if rank <= total else math.inf

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Distribution) and bool(np.array_equal(self._counts, other._counts))

    __hash__ = None  # type: ignore[assignment]


def _seconds(index: int) -> float:
    return float(_MIDDLE_US[index]) / _US_PER_S


def is_same_bucket(value_s: float, limit_s: float) -> bool:
    """Whether the instrument cannot tell the two apart: both lie in one bucket of the histogram."""
    return _bucket(value_s) == _bucket(limit_s)


def _bucket(value_s: float) -> int:
    return int(np.searchsorted(_LOWEST_US, round(value_s * _US_PER_S), side="right"))
