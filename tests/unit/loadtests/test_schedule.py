"""The clock of stages and arrivals: exact on ramps, the same again from the same seed, never shared by workers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.model import Profile
from loadtests.schedule import Schedule, Window, arrival_times, share, substream

levels = st.just(0.0) | st.floats(0.001, 5000)
windows = st.builds(
    lambda start, ramp, hold, before, level: Window(0, "stage", start, ramp, start + ramp + hold, before, level),
    st.floats(0, 1000),
    st.sampled_from([0.0, 0.5, 10.0, 60.0]),
    st.floats(0.1, 60),
    levels,
    levels,
)


def profile(*stages: dict[str, object]) -> Profile:
    return Profile.model_validate(
        {"name": "test", "description": "for a test", "stack": "consoul", "mix": {"chat": 1}, "stages": stages}
    )


def drawn(window: Window, *, kind: str = "poisson", seed: int = 1, worker: int = 0, workers: int = 1) -> np.ndarray:
    assert kind in ("poisson", "constant")
    chunks = list(arrival_times(window, kind, seed, worker, workers))  # type: ignore[arg-type]
    return np.concatenate(chunks) if chunks else np.array([])


def level_at(schedule: Schedule, at_s: float) -> float | None:
    window = schedule.window_at(at_s)
    return None if window is None else window.level_at(at_s)


def test_ramps_go_linearly_from_the_level_before() -> None:
    schedule = Schedule.of(
        profile(
            {"name": "up", "duration": "60s", "users": 10, "ramp": "60s"},
            {"name": "more", "duration": "100s", "users": 50, "spawn_rate": 1},
            {"name": "step", "duration": "10s", "users": 5},
            {"name": "down", "duration": "10s", "users": 0, "ramp": "10s"},
        )
    )
    at_s = [0, 30, 59.99, 60, 80, 100, 159, 160, 170, 175, 180]
    levels = [level_at(schedule, t) for t in at_s]
    assert levels[:-1] == pytest.approx([0, 5, 9.9983, 10, 30, 50, 50, 5, 5, 2.5], abs=1e-3)
    assert levels[-1] is None
    names = [window.name if (window := schedule.window_at(t)) else None for t in (-1, 0, 60, 159.9, 160, 180)]
    assert names == [None, "up", "more", "more", "step", None]


def test_a_step_in_rate_has_no_ramp_and_its_integral_is_exact() -> None:
    schedule = Schedule.of(
        profile(
            {"name": "warm", "duration": "5s", "rate": "500/s", "ramp": "5s"},
            {"name": "hold", "duration": "10s", "rate": "500/s"},
            {"name": "less", "duration": "10s", "rate": "100/s"},
        )
    )
    assert schedule.expected_arrivals(0, 5) == pytest.approx(1250)
    assert schedule.expected_arrivals(0, 2.5) == pytest.approx(312.5)
    assert schedule.expected_arrivals(5, 25) == pytest.approx(6000)
    assert level_at(schedule, 14.999) == 500
    assert level_at(schedule, 15) == 100
    assert level_at(schedule, 25) is None


@given(windows)
def test_times_is_the_inverse_of_the_integral(window: Window) -> None:
    areas = np.linspace(0, window.arrivals, 50)
    times_s = window.times(areas)
    assert np.all(np.diff(times_s) >= 0)
    assert np.all((times_s >= window.start_s) & (times_s <= window.end_s))
    # A tiny error of the time is multiplied by the level.
    tolerance = 1e-6 * max(window.before, window.level, 1) + 1e-9 * window.arrivals
    assert window.areas(times_s) == pytest.approx(areas, abs=tolerance)


@given(windows)
def test_integral_is_that_of_the_level(window: Window) -> None:
    edges_s = np.linspace(window.start_s, window.end_s, 20_001)
    middles_s = (edges_s[1:] + edges_s[:-1]) / 2
    summed = sum(window.level_at(t) for t in middles_s) * (window.end_s - window.start_s) / 20_000
    assert window.arrivals == pytest.approx(summed, rel=1e-3, abs=0.5)


@given(windows, st.sampled_from(["poisson", "constant"]), st.integers(1, 4), st.integers(0, 2**31))
def test_workers_share_a_stage_without_loss(window: Window, kind: str, workers: int, seed: int) -> None:
    if window.arrivals > 50_000:
        return
    parts = [drawn(window, kind=kind, seed=seed, worker=worker, workers=workers) for worker in range(workers)]
    for part in parts:
        assert np.all(np.diff(part) >= 0)
        assert np.all((part >= window.start_s) & (part <= window.end_s))
    assert abs(sum(part.size for part in parts) - window.arrivals) <= 1


def test_poisson_arrivals_repeat_with_the_seed_and_differ_without() -> None:
    window = Window(0, "hold", 0, 0, 30, 0, 500)
    first = drawn(window, seed=7)
    assert first.size == 15_000
    assert np.array_equal(first, drawn(window, seed=7))
    assert not np.array_equal(first, drawn(window, seed=8))
    assert not np.array_equal(first, drawn(Window(0, "other", 0, 0, 30, 0, 500), seed=7))


def test_workers_never_share_gaps() -> None:
    window = Window(0, "hold", 0, 0, 60, 0, 500)
    one, two = (np.diff(drawn(window, worker=worker, workers=2)) for worker in (0, 1))
    size = min(one.size, two.size)
    assert abs(float(np.corrcoef(one[:size], two[:size])[0, 1])) < 0.05


def test_constant_arrivals_stand_at_equal_distances_and_workers_take_turns() -> None:
    window = Window(0, "hold", 10, 0, 12, 0, 100)
    alone = drawn(window, kind="constant")
    assert alone == pytest.approx(10 + np.arange(200) / 100)
    pair = [drawn(window, kind="constant", worker=worker, workers=2) for worker in (0, 1)]
    assert np.sort(np.concatenate(pair)) == pytest.approx(alone)
    assert pair[1][0] == pytest.approx(10.01)


def test_nothing_arrives_at_rate_zero() -> None:
    window = Window(0, "quiet", 0, 0, 10, 0, 0)
    assert drawn(window).size == drawn(window, kind="constant").size == 0


@given(st.integers(0, 10_000), st.integers(1, 50))
def test_shares_add_up(total: int, workers: int) -> None:
    shares = [share(total, worker, workers) for worker in range(workers)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def test_substreams_of_different_names_differ() -> None:
    draws = {substream(1, *names).random() for names in (("a",), ("b",), ("a", 0), ("a", 1), ("a", "b"))}
    assert len(draws) == 5
    assert substream(1, "a").random() == substream(1, "a").random()


def test_users_are_set_at_the_begin_of_each_stage_and_every_second_to_those_of_its_middle() -> None:
    schedule = Schedule.of(
        profile(
            {"name": "up", "duration": "3s", "users": 30, "ramp": "3s"},
            {"name": "short", "duration": "1s", "users": 100},
            {"name": "down", "duration": "2.5s", "users": 0, "ramp": "2.5s"},
        )
    )
    assert list(schedule.steps(1.0)) == [(0, 5), (1, 15), (2, 25), (3, 100), (4, 80), (5, 30)]


@given(
    st.lists(st.tuples(st.floats(1, 20), st.integers(0, 500), st.booleans()), min_size=1, max_size=6),
)
def test_steps_hold_the_users_of_the_schedule(stages: list[tuple[float, int, bool]]) -> None:
    schedule = Schedule.of(
        profile(
            *(
                {"name": f"s{index}", "duration": length_s, "users": users, **({"ramp": length_s} if ramps else {})}
                for index, (length_s, users, ramps) in enumerate(stages)
            )
        )
    )
    steps = list(schedule.steps(1.0))
    moments = [at_s for at_s, _ in steps] + [schedule.end_s]
    gaps = np.diff(moments)
    assert gaps.min() >= 1 - 1e-6
    assert {window.start_s for window in schedule.windows} <= set(moments)
    held = sum(gap * users for gap, (_, users) in zip(gaps, steps, strict=True))
    assert held == pytest.approx(schedule.expected_arrivals(0, schedule.end_s), abs=0.5 * schedule.end_s + 1e-6)


def test_poisson_arrivals_fill_the_whole_window_evenly() -> None:
    window = Window(0, "hold", 0, 0, 400, 0, 500)
    parts = drawn(window) / 400
    standard_error = (1 / 12 / parts.size) ** 0.5
    assert float(parts.mean()) == pytest.approx(0.5, abs=5 * standard_error)
    assert float(parts.max()) > 1 - 20 / parts.size
