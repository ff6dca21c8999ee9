"""Counting in bulk is counting one by one."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st

from loadtests.engine.histogram import bucket_indexes, bucket_seconds, count_seconds, empty_counts, encode_counts
from loadtests.wire import HISTOGRAM_DIGITS, HISTOGRAM_HIGHEST_US, HISTOGRAM_LOWEST_US

values_us = st.lists(
    st.integers(0, HISTOGRAM_HIGHEST_US)
    | st.integers(0, 40_000)
    | st.sampled_from([2**n + d for n in range(28) for d in (-1, 0)]),
    max_size=200,
)


def one_by_one(values: list[int]) -> HdrHistogram:
    histogram = HdrHistogram(HISTOGRAM_LOWEST_US, HISTOGRAM_HIGHEST_US, HISTOGRAM_DIGITS)
    for value in values:
        assert histogram.record_value(value)
    return histogram


@given(values_us)
def test_bulk_counts_encode_to_the_same_bytes_as_the_library(values: list[int]) -> None:
    counts = count_seconds(np.array(values, dtype=np.float64) / 1e6)
    assert encode_counts(counts) == one_by_one(values).encode().decode("ascii")


def test_one_encoding_leaves_nothing_for_the_next() -> None:
    encode_counts(count_seconds(np.array([1.0, 2.0])))
    assert encode_counts(empty_counts()) == one_by_one([]).encode().decode("ascii")
    assert encode_counts(count_seconds(np.array([0.001]))) == one_by_one([1000]).encode().decode("ascii")


def test_what_is_outside_the_range_is_counted_at_its_edge() -> None:
    counts = count_seconds(np.array([-1.0, 1e6]))
    assert int(counts.sum()) == 2
    assert counts[bucket_indexes(np.array([HISTOGRAM_HIGHEST_US]))[0]] == 1
    assert counts[0] == 1


@given(st.integers(16, HISTOGRAM_HIGHEST_US))
def test_a_bucket_holds_its_value_to_three_digits(value: int) -> None:
    lowest_s = float(bucket_seconds(bucket_indexes(np.array([value])))[0])
    assert lowest_s <= value / 1e6
    assert lowest_s == pytest.approx(value / 1e6, rel=1e-3, abs=8e-6)
