from collections.abc import Callable

import pytest

from tests.reliability.slopes import MEBIBYTE, Sample, find_trend, fit_slope

Count = Callable[[int], int]


def samples(resident_bytes: Callable[[int], float], files: Count, tasks: Count = lambda _: 40) -> list[Sample]:
    return [
        Sample(1000.0 + at_s, int(resident_bytes(at_s)), files(at_s), tasks(at_s), 200, at_s * 0.5, at_s * 100)
        for at_s in range(601)
    ]


def test_a_line_has_its_slope() -> None:
    assert fit_slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)


def test_what_stays_the_same_is_flat() -> None:
    trend = find_trend(samples(lambda second: 5e7 + second % 7 * 4096, lambda second: 30 + second % 3))
    assert trend.problems(1.0) == []
    restless = find_trend(samples(lambda _: 5e7, lambda _: 30, lambda second: 5 if second % 10 == 0 else 37))
    assert restless.tasks_growth == 0
    assert (trend.length_s, trend.answers, trend.cpu_ratio) == (600, 60_000, 0.5)


def test_each_growth_is_named() -> None:
    trend = find_trend(samples(lambda second: 5e7 + second / 600 * 2 * MEBIBYTE, lambda second: 30 + second // 50))
    assert trend.resident_slope_mib_per_10_min == pytest.approx(2, rel=0.01)
    assert trend.resident_growth_bytes == pytest.approx(2 * MEBIBYTE, rel=0.01)
    assert trend.problems(1.0) == ["memory grows by 2.00 MiB in 10 min", "8 more open files"]
    leaking = find_trend(samples(lambda _: 5e7, lambda _: 30, lambda second: 5 + second // 20 + second % 3))
    assert leaking.problems(1.0) == ["20 more tasks"]
