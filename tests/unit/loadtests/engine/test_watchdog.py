"""The watchdog: lag where the loop stood still, CPU by difference, alarms once a stage."""

import numpy as np
import pytest

from loadtests.engine.watchdog import SAMPLE_PERIOD_S, Alarms, CpuMeter, LagSampler


class Clock:
    """A clock that only moves when told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def test_lag_covers_the_standstill_and_the_turn_of_the_loop_that_follows() -> None:
    clock = Clock()
    sampler = LagSampler(clock)
    for woken_s in (100.005, 100.010, 100.065, 100.070):
        clock.now_s = woken_s
        assert sampler.sample() == SAMPLE_PERIOD_S
    lag_s = sampler.lag_at(np.array([100.004, 100.012, 100.016, 100.064, 100.066, 100.0701]))
    assert lag_s == pytest.approx([0, 0, 0.050, 0.050, 0.050, 0], abs=1e-9)


def test_a_sample_that_is_overdue_counts_already() -> None:
    clock = Clock()
    sampler = LagSampler(clock)
    clock.now_s = 100.105
    assert sampler.lag_at(np.array([100.1])) == pytest.approx([0.100])
    assert sampler.take_highest_s() == pytest.approx(0.100)


def test_the_highest_lag_is_taken_once_and_old_samples_are_forgotten() -> None:
    clock = Clock()
    sampler = LagSampler(clock)
    clock.now_s = 100.055
    sampler.sample()
    assert sampler.take_highest_s() == pytest.approx(0.050)
    for step in range(2000):
        clock.now_s = 100.060 + step * SAMPLE_PERIOD_S
        sampler.sample()
    assert sampler.take_highest_s() == pytest.approx(0, abs=1e-9)
    assert len(sampler._woken) <= 2.0 / SAMPLE_PERIOD_S + 1


def test_cpu_ratio_is_the_difference() -> None:
    wall, cpu = Clock(), Clock()
    meter = CpuMeter(wall, cpu)
    wall.now_s, cpu.now_s = 102.0, 101.0
    assert meter.take_ratio() == 0.5
    assert meter.take_ratio() == 0.0


def test_alarms_name_the_remedy_and_come_once_a_stage() -> None:
    alarms = Alarms()
    first = alarms.check(1.0, "hold", 1.0, cpu_ratio=0.95, ended=1000, suspect=11)
    assert [alarm.kind for alarm in first] == ["cpu", "suspect"]
    assert all("more processes" in alarm.detail for alarm in first)
    assert alarms.check(2.0, "hold", 1.0, cpu_ratio=0.95, ended=1000, suspect=500) == []
    assert [alarm.kind for alarm in alarms.check(3.0, "next", 1.0, 0.95, 1000, 0)] == ["cpu"]


def test_no_alarm_without_cause() -> None:
    alarms = Alarms()
    assert alarms.check(1.0, "hold", 1.0, cpu_ratio=0.9, ended=1000, suspect=10) == []
    assert alarms.check(1.0, "hold", 1.0, cpu_ratio=0.1, ended=20, suspect=20) == []
    assert alarms.check(1.0, "hold", 0.03, cpu_ratio=0.99, ended=0, suspect=0) == []
    assert alarms.check(1.0, None, 1.0, cpu_ratio=0.99, ended=1000, suspect=1000) == []
