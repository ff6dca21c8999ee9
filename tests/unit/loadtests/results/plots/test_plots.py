"""Plots: ticks are round, no peak is lost, gaps stay gaps."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.results.plots.percentiles import Curve, draw_percentiles
from loadtests.results.plots.scale import Scale, linear_ticks, log_ticks, spread_labels, time_ticks
from loadtests.results.plots.svg import area_path, element, line_path
from loadtests.results.plots.thin import thin
from loadtests.results.plots.timeline import NARROW, WIDE, Band, Limit, Line, Mark, Panel, Timeline, draw_timeline


@pytest.mark.parametrize(
    ("high", "ticks"),
    [
        (100, [0, 25, 50, 75, 100]),
        (92.2, [0, 25, 50, 75, 100]),
        (0.6, [0, 0.2, 0.4, 0.6]),
        (7, [0, 2, 4, 6, 8]),
        (0, [0, 1]),
    ],
)
def test_linear_ticks_are_round_and_reach_the_highest_value(high: float, ticks: list[float]) -> None:
    assert linear_ticks(high) == ticks


@given(st.floats(1e-6, 1e9))
def test_linear_ticks_always_cover_with_few_steps(high: float) -> None:
    ticks = linear_ticks(high)
    assert ticks[-1] >= high * 0.999999
    assert 2 <= len(ticks) <= 7


def test_log_ticks_enclose_the_range() -> None:
    assert log_ticks(0.003, 0.6) == pytest.approx([0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0])
    assert log_ticks(0.00001, 10.0) == pytest.approx([1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10])


def test_time_ticks_fall_on_the_clock() -> None:
    assert time_ticks(260, 12) == [0, 30, 60, 90, 120, 150, 180, 210, 240]
    assert time_ticks(14_400, 12)[1] == 1800


def test_scale_places_linearly_and_by_logarithm_and_holds_at_the_edges() -> None:
    assert Scale(0, 10, 100, 0).place(2.5) == 75.0
    assert Scale(1, 100, 0, 100, is_log=True).place(10) == 50.0
    assert Scale(0, 10, 0, 100).place(99) == 100.0
    assert Scale(0, 0, 0, 100).place(0) == 0.0


@given(st.lists(st.floats(0, 100), max_size=6))
def test_spread_labels_keep_their_distance(wanted: list[float]) -> None:
    placed = sorted(spread_labels(wanted, 13, 0, 100))
    assert all(second - first >= 13 - 1e-6 for first, second in itertools.pairwise(placed))
    assert all(place <= 100 for place in placed)


def test_labels_of_curves_that_meet_keep_the_order_of_the_curves() -> None:
    low, middle, high = spread_labels([50.0, 50.0, 50.0], 13, 0, 100)
    assert high < middle < low


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=500), st.integers(1, 60))
def test_thinning_keeps_the_extremes_in_order_of_time(values: list[float | None], buckets: int) -> None:
    samples = [(float(t), value) for t, value in enumerate(values)]
    kept = thin(samples, buckets)
    known = [value for _, value in kept if value is not None]
    every = [value for value in values if value is not None]
    assert len(kept) <= 2 * buckets
    assert [t for t, _ in kept] == sorted(t for t, _ in kept)
    if every:
        assert (min(known), max(known)) == (min(every), max(every))


def test_an_unknown_value_leaves_a_gap_and_a_lone_one_a_dot() -> None:
    assert line_path([(0, 1), (1, 2), (2, None), (3, 4), (4, None)]) == "M0 1L1 2M3 4h.1"
    assert area_path([(0, 1), (1, None)], 9) == "M0 9L0 1L1 9L1 9Z"


def test_elements_escape_text_and_attributes() -> None:
    made = element("text", "<b>&", class_='a"b', x=1.04)
    assert made == '<text class="a&#34;b" x="1">&lt;b&gt;&amp;</text>'


def _timeline(values: list[float | None]) -> Timeline:
    samples = [(float(t), value) for t, value in enumerate(values)]
    panel = Panel(
        "Latency", [Line("p95", "p95", samples)], lambda v: f"{v:g} s", may_be_log=True,
        limits=[Limit(2.0, 0, 5, "p95 < 2s")], empty="nothing measured",
    )  # fmt: skip
    bands = [Band("warm", 0, 2, True), Band("a-stage-with-a-very-long-name", 2, 10, False)]
    return Timeline(10, [panel], bands, [Mark(3, "lag <b>")], [(0, 1, "0:00 <b>")])


@pytest.mark.parametrize("frame", [WIDE, NARROW])
def test_timeline_shows_stages_limits_and_alarms(frame) -> None:  # type: ignore[no-untyped-def]
    drawn = draw_timeline(_timeline([1.0, 2.0, None, 3.0]), frame, "Timeline")
    assert "p95 &lt; 2s" in drawn
    assert "lag &lt;b&gt;" in drawn
    assert "<b>" not in drawn
    assert 'class="band warm"' in drawn
    assert ("hint" in drawn) == (frame is WIDE)


def test_a_panel_without_data_says_so() -> None:
    assert "nothing measured" in draw_timeline(_timeline([None, None]), WIDE, "x")


def test_a_wide_range_gets_a_logarithmic_axis() -> None:
    drawn = draw_timeline(_timeline([0.001, 0.002, 1.0, 5.0]), WIDE, "x")
    assert ">0.001 s<" in drawn
    assert ">10 s<" in drawn


def test_percentile_curves_are_labelled_and_none_at_all_is_said() -> None:
    drawn = draw_percentiles([Curve("hold", "c0", [(0.0, 0.01), (50.0, 0.05), (99.0, 0.2)])], WIDE, "x")
    assert ">hold<" in drawn
    assert ">p99<" in drawn
    assert ">p99.9<" not in drawn
    assert "not enough" in draw_percentiles([], WIDE, "x") or "No stage" in draw_percentiles([], WIDE, "x")
