"""When Redis counts as away: five failures in a row, and until somebody says that it is back."""

import pytest

from mock_server.core.outage import Outage


def test_begins_on_exactly_the_fifth_failure_in_a_row() -> None:
    outage = Outage()
    assert [(outage.fail(), outage.is_away) for _ in range(5)] == [(False, False)] * 4 + [(True, True)]
    assert not outage.fail(), "it begins once"


def test_many_calls_that_failed_at_once_count_each() -> None:
    outage = Outage()
    assert outage.fail(5)


def test_an_answer_resets_what_was_counted() -> None:
    outage = Outage()
    outage.fail(4)
    outage.succeed()
    assert not outage.fail(4)


def test_reads_that_succeed_do_not_make_up_for_writes_that_are_refused() -> None:
    outage = Outage()
    for _ in range(4):
        assert not outage.refuse()
        outage.succeed()
    assert outage.refuse()


def test_a_write_that_was_taken_makes_up_for_all() -> None:
    outage = Outage()
    for _ in range(4):
        outage.refuse()
    outage.fail(4)
    outage.confirm()
    assert not outage.refuse()
    assert not outage.fail()


@pytest.mark.parametrize("forgotten", ["fail", "refuse"])
def test_an_end_forgets_what_was_counted(forgotten: str) -> None:
    outage = Outage()
    outage.begin()
    for _ in range(20):
        getattr(outage, forgotten)()
    outage.end()
    assert not outage.is_away
    assert not getattr(outage, forgotten)()
