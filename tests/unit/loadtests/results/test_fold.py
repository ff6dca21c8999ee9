"""The tally: deltas of any number of processes become totals, and nothing is lost on the way."""

import msgspec
import pytest

from loadtests.errors import HarnessError
from loadtests.results.fold import Tally
from loadtests.results.histograms import Distribution
from loadtests.wire import Alarm, Ended, StageEvent, Started
from tests.unit.loadtests.results.simulation import (
    STARTED_UNIX,
    build_interval,
    build_plan,
    build_request,
    build_stage,
    encode,
)


def test_deltas_of_two_workers_add_up_per_stage_and_request() -> None:
    tally = Tally(build_plan())
    for worker, values in (("w0", [0.1, 0.2]), ("w1", [0.3])):
        stage = build_stage({"POST /chat": build_request(values, failed=1)}, dropped=2, cut_off=1, late=1, suspect=1)
        tally.add(build_interval(0, "hold", {"hold": stage}, worker))
    hold = tally.stages["hold"]
    assert (hold.finished, hold.failed, hold.dropped, hold.cut_off, hold.late, hold.suspect) == (3, 2, 4, 2, 2, 2)
    assert (hold.started, hold.scheduled) == (7, 11)
    chat = hold.requests["POST /chat"]
    assert chat.distributions["latency"] == Distribution.of([encode([0.1, 0.2, 0.3])])
    assert chat.failures[("wrong_status", "status 503")].count == 2
    assert chat.statuses == {"200": 3, "503": 2}
    assert tally.workers == {"w0", "w1"}


def test_a_request_that_ends_after_its_stage_counts_in_its_stage() -> None:
    tally = Tally(build_plan())
    tally.add(build_interval(81, "hold", {"ramp": build_stage({"a": build_request([0.1])})}))
    assert tally.stages["ramp"].finished == 1
    assert tally.stages["hold"].finished == 0


def test_failures_keep_when_they_were_first_and_last_seen() -> None:
    tally = Tally(build_plan())
    for second in (3, 9, 5):
        tally.add(build_interval(second, "hold", {"hold": build_stage({"a": build_request([], failed=1)})}))
    found = tally.stages["hold"].requests["a"].failures[("wrong_status", "status 503")]
    assert (found.first_s, found.last_s, found.count) == (4.0, 10.0, 3)


def test_stage_times_are_those_of_the_first_to_begin_and_the_last_to_end() -> None:
    tally = Tally(build_plan())
    for event, at_s in (("begin", 20.2), ("begin", 20.1), ("end", 80.1), ("end", 80.4)):
        tally.add(StageEvent("ramp", event, at_s))  # type: ignore[arg-type]
    ramp = tally.stages["ramp"]
    assert (ramp.begin_s, ramp.end_s) == (20.1, 80.4)
    assert ramp.duration_s == pytest.approx(60.3)


def test_the_end_of_the_run_closes_a_stage_left_open() -> None:
    tally = Tally(build_plan())
    tally.add(StageEvent("ramp", "begin", 20.0))
    assert tally.current_stage is tally.stages["ramp"]
    tally.add(Ended(31.5, "stopped"))
    assert tally.stages["ramp"].duration_s == pytest.approx(11.5)
    assert tally.current_stage is None


def test_a_generator_that_died_closes_at_its_last_interval() -> None:
    tally = Tally(build_plan())
    tally.add(StageEvent("ramp", "begin", 0.0))
    tally.add(build_interval(6, "ramp", {}))
    tally.finish()
    assert tally.stages["ramp"].end_s == 7.0
    assert tally.ended is None


def test_a_stage_the_plan_does_not_have_is_refused() -> None:
    with pytest.raises(HarnessError, match="stage 'other', but the plan has warm, ramp"):
        Tally(build_plan()).add(StageEvent("other", "begin", 0.0))


def test_a_histogram_that_is_none_is_the_generators_fault() -> None:
    request = msgspec.structs.replace(build_request([0.1]), histograms={"latency": "nonsense"})
    interval = build_interval(3, "hold", {"hold": build_stage({"a": request})})
    with pytest.raises(HarnessError, match=r"generating process 'w0' at 4\.0 s: not an encoded histogram"):
        Tally(build_plan()).add(interval)


def test_warmup_is_kept_apart_and_alarms_are_kept() -> None:
    tally = Tally(build_plan())
    tally.add(Started(STARTED_UNIX, 2, {}))
    tally.add(Alarm(3.0, "late", "late starts"))
    assert [stage.name for stage in tally.judged_stages] == ["ramp", "hold", "spike", "down"]
    assert tally.alarms[0].kind == "late"
    assert tally.started is not None
