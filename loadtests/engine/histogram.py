"""HdrHistogram in bulk: where many values are counted at once, bit for bit as the library counts them one by one."""

from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from loadtests.wire import HISTOGRAM_DIGITS, HISTOGRAM_HIGHEST_US, HISTOGRAM_LOWEST_US

Counts = NDArray[np.int64]

# One library object gives the constants and encodes; its counters are a view that numpy fills.
_library: Any = HdrHistogram(HISTOGRAM_LOWEST_US, HISTOGRAM_HIGHEST_US, HISTOGRAM_DIGITS)
_view: NDArray[np.uint64] = np.frombuffer(_library.counts, dtype=np.uint64)
_UNIT: int = _library.unit_magnitude
_HALF_MAGNITUDE: int = _library.sub_bucket_half_count_magnitude
_HALF: int = _library.sub_bucket_half_count
_MASK: int = _library.sub_bucket_mask
LENGTH: int = _library.counts_len


def empty_counts() -> Counts:
    """Counters of an empty histogram."""
    return np.zeros(LENGTH, dtype=np.int64)


def count_seconds(values_s: NDArray[np.float64]) -> Counts:
    """Counters of many durations in seconds; what lies outside the range is counted at its edge."""
    values_us = np.clip(np.rint(values_s * 1e6), 0, HISTOGRAM_HIGHEST_US).astype(np.int64)
    return np.bincount(bucket_indexes(values_us), minlength=LENGTH)


def bucket_indexes(values_us: NDArray[np.int64]) -> NDArray[np.int64]:
    """The counter of each value in microseconds, 0 to the highest of the wire."""
    # The exponent of a float is the bit length of the integer it holds, exact below 2**53.
    _, bit_length = np.frexp((values_us | _MASK).astype(np.float64))
    bucket = bit_length.astype(np.int64) - (_UNIT + _HALF_MAGNITUDE + 1)
    return ((bucket + 1) << _HALF_MAGNITUDE) + (values_us >> (bucket + _UNIT)) - _HALF


def bucket_seconds(indexes: NDArray[np.int64]) -> NDArray[np.float64]:
    """The lowest duration in seconds that each counter stands for."""
    bucket = (indexes >> _HALF_MAGNITUDE) - 1
    sub = (indexes & (_HALF - 1)) + np.where(bucket < 0, 0, _HALF)
    lowest_us: NDArray[np.int64] = sub << (np.maximum(bucket, 0) + _UNIT)
    return lowest_us / 1e6


def encode_counts(counts: Counts) -> str:
    """The histogram as it travels: HdrHistogram V2, compressed, base64."""
    np.copyto(_view, counts, casting="unsafe")
    used = np.flatnonzero(counts)
    _library.total_count = int(counts.sum())
    _library.max_value = _library.get_value_from_index(int(used[-1])) if used.size else 0
    return str(_library.encode().decode("ascii"))
