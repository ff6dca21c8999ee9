"""The ledger and what ended: every request once, in the stage it belongs to, in constant memory."""

from collections import Counter

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from loadtests.engine.recorder import Outcome, Recorder
from loadtests.wire import StageDelta

Moments = NDArray[np.float64]


def no_lag(moments_s: Moments) -> Moments:
    return np.zeros_like(moments_s)


def recorder(lag_of: object = no_lag) -> Recorder:
    return Recorder(["warm", "hold"], ["GET /a", "POST /b"], lag_of)  # type: ignore[arg-type]


def start(books: Recorder, stage: int) -> None:
    books.scheduled[stage] += 1
    books.started[stage] += 1
    books.in_flight += 1


def end(books: Recorder, stage: int = 1, request: int = 0, outcome: Outcome = Outcome.OK, **changed: float) -> None:
    values = {"latency_s": 0.05, "service_s": 0.04, "late_s": 0.0, "ended_s": 1.0} | changed
    start(books, stage)
    status = 0 if outcome in {Outcome.NO_ANSWER, Outcome.TIMED_OUT} else 500 if outcome is Outcome.FAILED else 200
    books.end(stage, request, **values, status=status, sent=100, received=200, outcome=outcome)


def hold(books: Recorder) -> StageDelta:
    return books.flush().stages["hold"]


def test_outcomes_are_counted_apart() -> None:
    books = recorder()
    for outcome, count in ((Outcome.OK, 5), (Outcome.REFUSED, 3), (Outcome.FAILED, 2), (Outcome.NO_ANSWER, 4)):
        for _ in range(count):
            end(books, outcome=outcome)
    delta = hold(books).requests["GET /a"]
    assert (delta.finished, delta.refused, delta.failed) == (8, 3, 6)
    assert delta.statuses == {"200": 8, "500": 2}
    assert (delta.bytes_sent, delta.bytes_received) == (1400, 2800)
    assert HdrHistogram.decode(delta.histograms["latency"]).get_total_count() == 10


def test_what_timed_out_counts_with_the_time_it_was_waited_for() -> None:
    books = recorder()
    end(books, outcome=Outcome.TIMED_OUT, latency_s=30.0)
    delta = hold(books).requests["GET /a"]
    assert (delta.finished, delta.failed, delta.statuses) == (0, 1, {})
    assert HdrHistogram.decode(delta.histograms["latency"]).get_max_value() == pytest.approx(30_000_000, rel=1e-3)


def test_latency_and_service_time_have_histograms_of_their_own() -> None:
    books = recorder()
    end(books, latency_s=0.5, service_s=0.002)
    histograms = hold(books).requests["GET /a"].histograms
    latency, service = (HdrHistogram.decode(histograms[name]) for name in ("latency", "service_time"))
    assert latency.get_value_at_percentile(50) == pytest.approx(500_000, rel=1e-3)
    assert service.get_value_at_percentile(50) == pytest.approx(2_000, abs=8)


def test_a_flush_gives_deltas_and_is_silent_about_what_did_not_happen() -> None:
    books = recorder()
    end(books)
    assert set(books.flush().stages) == {"hold"}
    assert books.flush().stages == {}
    end(books, stage=0, request=1)
    assert {name: list(delta.requests) for name, delta in books.flush().stages.items()} == {"warm": ["POST /b"]}


@given(st.lists(st.tuples(st.integers(0, 1), st.sampled_from(["ok", "fail", "cut", "drop", "flight"])), max_size=60))
def test_the_ledger_balances_but_for_what_is_in_flight(events: list[tuple[int, str]]) -> None:
    books = recorder()
    total: Counter[str] = Counter()
    for number, (stage, what) in enumerate(events):
        if what == "drop":
            books.scheduled[stage] += 1
            books.drop(stage, 0.0)
        elif what in ("ok", "fail"):
            end(books, stage=stage, outcome=Outcome.OK if what == "ok" else Outcome.NO_ANSWER)
        else:
            start(books, stage)
            if what == "cut":
                books.cut(stage, 0.0)
        if number % 7 == 0:
            add(total, books)
    add(total, books)
    assert total["scheduled"] == total["started"] + total["dropped"] == len(events)
    assert total["started"] == total["finished"] + total["failed"] + total["cut_off"] + books.in_flight
    assert books.in_flight == sum(what == "flight" for _, what in events)


def add(total: Counter[str], books: Recorder) -> None:
    for delta in books.flush().stages.values():
        for name in ("scheduled", "started", "dropped", "cut_off"):
            total[name] += getattr(delta, name)
        for request in delta.requests.values():
            total.update(finished=request.finished, failed=request.failed)


def test_late_starts_are_late_and_suspect() -> None:
    books = recorder()
    for late_s in (0.0, 0.0099, 0.0101, 0.5):
        end(books, late_s=late_s)
    start(books, 1)
    books.cut(1, 0.02)
    books.scheduled[1] += 1
    books.drop(1, 0.02)
    delta = hold(books)
    assert (delta.late, delta.suspect) == (3, 4)


def test_a_drop_of_a_generator_without_time_left_is_suspect() -> None:
    books = recorder()
    for is_busy, suspect in ((False, 1), (True, 3)):
        for late_s in (0.0, 0.0, 0.02):
            books.scheduled[1] += 1
            books.drop(1, late_s)
        assert books.flush(is_busy=is_busy).stages["hold"].suspect == suspect


def test_lag_makes_suspect_only_what_it_could_have_lengthened() -> None:
    def lag_of(moments_s: Moments) -> Moments:
        return np.where(moments_s < 2.0, 0.020, 0.0)

    books = recorder(lag_of)
    end(books, latency_s=0.1, ended_s=1.0)
    end(books, latency_s=1.0, ended_s=1.0)
    end(books, latency_s=0.1, ended_s=3.0)
    delta = hold(books)
    assert (delta.late, delta.suspect) == (0, 1)


def test_failures_are_explained_by_kind_with_bounded_details() -> None:
    books = recorder()
    for number in range(80):
        books.explain(1, 0, "wrong_body", f"detail {number}")
        end(books, outcome=Outcome.FAILED)
    failures = hold(books).requests["GET /a"].failures
    assert sum(failure.count for failure in failures) == 80
    assert len(failures) == 51
    books.explain(1, 0, "timeout", "x" * 500)
    end(books, outcome=Outcome.NO_ANSWER)
    assert hold(books).requests["GET /a"].failures[0].detail == "other details"


def test_folding_leaves_nothing_behind() -> None:
    books = recorder()
    for _ in range(3):
        for _ in range(1000):
            end(books)
        books.fold()
        assert len(books._rows) == 0
        assert len(books._cells) == 1
    assert hold(books).requests["GET /a"].finished == 3000
