"""Waiting ends at the deadline, on a clock that is given."""

import pytest

from mock_server.lab.errors import SettingsError
from mock_server.lab.readiness import is_ready, wait_until


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def pause(self, duration_s: float) -> None:
        self.now_s += duration_s


def test_waiting_ends_as_soon_as_it_is_done() -> None:
    clock = Clock()

    assert wait_until(lambda: clock.now_s >= 1, 10, clock, clock.pause)
    assert clock.now_s == pytest.approx(1, abs=0.1)


def test_waiting_gives_up_at_the_deadline_but_looks_at_least_once() -> None:
    clock = Clock()

    assert not wait_until(lambda: False, 3, clock, clock.pause)
    assert clock.now_s == pytest.approx(3, abs=0.1)
    assert wait_until(lambda: True, 0, clock, clock.pause)


def test_an_address_nobody_can_probe_is_an_error() -> None:
    with pytest.raises(SettingsError, match="No probe for 'ftp://x'"):
        is_ready("ftp://x")
