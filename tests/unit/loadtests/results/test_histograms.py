"""Distributions: merging loses nothing, percentiles agree with an exact sort."""

import math

import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.results.histograms import Distribution, is_same_bucket
from loadtests.wire import HISTOGRAM_DIGITS, HISTOGRAM_HIGHEST_US, HISTOGRAM_LOWEST_US
from tests.unit.loadtests.results.simulation import encode

latencies = st.lists(st.floats(0.0001, 290.0), min_size=1, max_size=40)


@settings(max_examples=25, deadline=None)
@given(st.lists(latencies, min_size=1, max_size=8))
def test_merge_of_up_to_eight_workers_equals_the_histogram_of_the_union(workers: list[list[float]]) -> None:
    merged = Distribution.of(encode(worker) for worker in workers)
    union = Distribution.of([encode([value for worker in workers for value in worker])])
    assert merged == union
    assert merged.count == sum(map(len, workers))
    assert Distribution.of([merged.encode()]) == union


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0.02, 290.0), min_size=1, max_size=300), st.sampled_from([1, 50, 90, 95, 99, 99.9, 100]))
def test_percentile_is_within_a_thousandth_of_the_exact_sort(values: list[float], percentile: float) -> None:
    rank = max(1, math.ceil(percentile / 100 * len(values) - 1e-9))
    exact = sorted(values)[rank - 1]
    found = Distribution.of([encode(values)]).percentile_s(percentile)
    assert found == pytest.approx(exact, rel=0.001)


def test_merge_with_another_distribution_adds_counts() -> None:
    first, second = Distribution.of([encode([0.1, 0.2])]), Distribution.of([encode([0.3])])
    first.merge(second)
    assert first == Distribution.of([encode([0.1, 0.2, 0.3])])


def test_summary_figures_are_those_of_the_values() -> None:
    distribution = Distribution.of([encode([0.1, 0.2, 0.3])])
    assert distribution.mean_s == pytest.approx(0.2, rel=0.001)
    assert distribution.min_s == pytest.approx(0.1, rel=0.001)
    assert distribution.max_s == pytest.approx(0.3, rel=0.001)


def test_an_empty_distribution_knows_nothing() -> None:
    empty = Distribution()
    assert (empty.count, empty.mean_s, empty.min_s, empty.max_s) == (0, None, None, None)
    assert empty.percentiles_s([50, 99]) == [None, None]


def test_the_rank_of_a_whole_percentile_is_not_pushed_up_by_rounding() -> None:
    values = [index / 100 for index in range(1, 1001)]
    assert Distribution.of([encode(values)]).percentile_s(99.9) == pytest.approx(9.99, rel=0.0006)


@pytest.mark.parametrize("payload", ["", "nonsense", "HISTFAAAAA=="])
def test_a_payload_that_is_no_histogram_is_refused(payload: str) -> None:
    with pytest.raises(ValueError, match="not an encoded histogram"):
        Distribution.of([payload])


def test_a_histogram_of_another_range_is_refused() -> None:
    other = HdrHistogram(1, 1_000_000, 2)
    other.record_value(5)
    with pytest.raises(ValueError, match="want 10..300000000 with 3"):
        Distribution.of([other.encode().decode()])


def test_values_in_one_bucket_cannot_be_told_apart() -> None:
    assert is_same_bucket(2.0, 2.0003)
    assert not is_same_bucket(2.0, 2.003)


def test_buckets_are_those_of_the_reference_library() -> None:
    histogram = HdrHistogram(HISTOGRAM_LOWEST_US, HISTOGRAM_HIGHEST_US, HISTOGRAM_DIGITS)
    for value_us in (10, 999, 16_383, 16_384, 2_000_000, 299_000_000):
        histogram.reset()
        histogram.record_value(value_us)
        found = Distribution.of([histogram.encode().decode()]).max_s
        assert found is not None
        low = histogram.get_lowest_equivalent_value(value_us)
        assert low <= found * 1e6 <= histogram.get_highest_equivalent_value(value_us) + 1
