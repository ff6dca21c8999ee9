"""The verdict: its order, and that nothing passes without evidence."""

import pytest

from loadtests.exit_codes import ExitCode
from loadtests.results.model import Outcome, ThresholdOutcome, Verdict, Watchdog, WatchdogCheck
from loadtests.results.verdict import decide_verdict

BROKEN = WatchdogCheck(name="ledger", outcome="broken", detail="does not balance", advice="repeat the run")


def _outcome(outcome: Outcome, *, hard: bool = True) -> ThresholdOutcome:
    return ThresholdOutcome(
        check="p95 < 2s", stage=None, request=None, hard=hard, outcome=outcome, value=1.0, limit=2.0, unit="s",
        samples=100, needed_samples=90, why="measured",
    )  # fmt: skip


def _decide(
    *outcomes: ThresholdOutcome,
    interrupted: bool = False,
    broken: bool = False,
    finished: int = 10,
    exploratory: bool = False,
) -> Verdict:
    watchdog = Watchdog(
        suspect_ratio=0.0, loop_lag_max_s=0, cpu_ratio_max=0, checks=(BROKEN,) if broken else (), alarms=()
    )
    return decide_verdict(
        is_interrupted=interrupted,
        is_exploratory=exploratory,
        finished=finished,
        thresholds=outcomes,
        watchdog=watchdog,
    )


def test_order_is_interrupted_invalid_fail_insufficient_pass() -> None:
    every = (_outcome("pass"), _outcome("insufficient"), _outcome("fail"))
    assert _decide(*every, interrupted=True, broken=True).name == "interrupted"
    assert _decide(*every, broken=True).name == "invalid"
    assert _decide(*every).name == "fail"
    assert _decide(*every[:2]).name == "insufficient"
    assert _decide(*every[:1]).name == "pass"


def test_soft_thresholds_and_unmeasured_ones_do_not_judge() -> None:
    assert _decide(_outcome("pass"), _outcome("fail", hard=False)).name == "pass"
    assert _decide(_outcome("pass"), _outcome("insufficient", hard=False)).name == "pass"
    assert _decide(_outcome("pass"), _outcome("not_measured")).name == "pass"


def test_nothing_that_judged_is_no_pass_unless_exploratory() -> None:
    assert _decide().name == "insufficient"
    assert _decide(_outcome("not_measured")).name == "insufficient"
    assert _decide(_outcome("pass", hard=False)).name == "insufficient"
    assert _decide(exploratory=True).name == "pass"


def test_no_finished_request_is_never_a_pass() -> None:
    assert _decide(_outcome("pass"), finished=0).name == "insufficient"
    assert _decide(exploratory=True, finished=0).name == "insufficient"
    assert _decide(_outcome("fail"), finished=0).name == "fail"


@pytest.mark.parametrize(
    "verdict", [_decide(), _decide(broken=True), _decide(interrupted=True), _decide(_outcome("fail"))]
)
def test_every_verdict_says_why_and_what_next(verdict: Verdict) -> None:
    assert verdict.why
    assert verdict.next_step


def test_exit_codes_are_those_of_the_verdicts() -> None:
    assert _decide(_outcome("pass")).exit_code is ExitCode.PASS
    assert _decide(_outcome("fail")).exit_code is ExitCode.FAIL
    assert _decide(broken=True).exit_code is ExitCode.INVALID
    assert _decide().exit_code is ExitCode.INSUFFICIENT
    assert _decide(interrupted=True).exit_code is ExitCode.INTERRUPTED
