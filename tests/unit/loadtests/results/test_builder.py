"""From tally to result: everything a reader needs, and the verdict that follows."""

import pytest

from loadtests.results.builder import build_repeat_command, build_result
from loadtests.results.fold import Tally
from loadtests.results.model import RunResult
from loadtests.wire import Ended, StageEvent, Started
from tests.unit.loadtests.results.simulation import (
    LOAD,
    TARGET,
    Simulation,
    build_interval,
    build_plan,
    build_request,
    build_stage,
    run_simulation,
)


def test_a_whole_run_is_judged(result: RunResult) -> None:
    assert result.verdict.name == "insufficient"
    assert "459 needed" in result.verdict.why
    assert result.totals.is_balanced
    assert [stage.planned_s for stage in result.stages] == [2.0, 6.0, 12.0, 3.0, 3.0]
    assert result.duration_s == 26.0
    assert result.versions == {"generator": "1", "python": "3.11.7", "locust": "2.47.0"}
    assert result.created == "2026-11-18T11:06:40Z"


def test_a_shortened_run_says_it_is_not_comparable(result: RunResult) -> None:
    assert "TIME_SCALE=0.1" in result.comparable_note
    assert result.repeat_command == "make test-load-load STACK=consoul TIME_SCALE=0.1"
    assert build_repeat_command(build_plan()) == "make test-load-load STACK=consoul"


def test_failures_are_listed_by_kind_with_the_time_they_were_seen() -> None:
    tally = run_simulation(Simulation(build_plan(time_scale=0.5)))
    tally.finish()
    built = build_result(tally, created_unix=0, target=TARGET, versions={}, git=None, is_interrupted=False)
    (failure,) = built.failures
    assert (failure.stage, failure.request, failure.kind) == ("spike", "POST /chat", "wrong_status")
    assert failure.count == built.totals.failed > 0
    assert failure.first_unix < failure.last_unix


@pytest.mark.parametrize(("is_interrupted", "reason"), [(True, None), (False, "stopped"), (True, "completed")])
def test_a_stopped_run_is_interrupted(is_interrupted: bool, reason: str | None) -> None:
    tally = Tally(build_plan())
    tally.add(Started(0.0, 1, {}))
    tally.add(StageEvent("warm", "begin", 0.0))
    if reason:
        tally.add(Ended(5.0, reason))  # type: ignore[arg-type]
    tally.finish()
    built = build_result(tally, created_unix=0, target=TARGET, versions={}, git=None, is_interrupted=is_interrupted)
    assert built.verdict.name == "interrupted"
    assert built.verdict.exit_code == 105


def test_a_generator_that_died_makes_the_run_invalid() -> None:
    tally = Tally(build_plan())
    tally.finish()
    built = build_result(tally, created_unix=0, target=TARGET, versions={}, git=None, is_interrupted=False)
    assert built.verdict.name == "invalid"
    assert "before it sent anything" in built.verdict.why
    assert built.started_unix is None
    assert RunResult.from_json(built.to_json()) == built


def test_a_frozen_target_never_passes() -> None:
    profile = {
        **LOAD,
        "stages": [{"name": "hold", "duration": "10s", "users": 5}],
        "thresholds": [],
        "exploratory": True,
    }
    tally = Tally(build_plan(profile))
    tally.add(Started(0.0, 1, {}))
    tally.add(StageEvent("hold", "begin", 0.0))
    timeouts = build_request([], failed=5, kind="timeout", detail="no answer in 30 s")
    tally.add(build_interval(0, "hold", {"hold": build_stage({"a": timeouts}, cut_off=5)}))
    tally.add(Ended(10.0, "completed"))
    tally.finish()
    built = build_result(tally, created_unix=0, target=TARGET, versions={}, git=None, is_interrupted=False)
    assert built.verdict.name == "insufficient"
    assert "no request finished" in built.verdict.why
