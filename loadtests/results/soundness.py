"""The instrument judged by itself: ledger, watchdog, arrivals and the target's own count. Never about the target."""

import math
from collections.abc import Iterator

from loadtests.results.fold import StageTotals, Tally
from loadtests.results.formats import clean_text, format_count, format_length, format_processes, format_ratio
from loadtests.results.model import (
    CheckOutcome,
    LedgerRow,
    Reconciliation,
    RunAlarm,
    TargetReport,
    Watchdog,
    WatchdogCheck,
)
from loadtests.wire import Arrivals

SUSPECT_RATIO_LIMIT = 0.01
# A stage of few samples is not lost by a few of them.
_SUSPECTS_MIN = 10
CPU_RATIO_WARNING = 0.9
# A process that used less than half a core was late because it was not let run.
_CPU_RATIO_IDLE = 0.5
FATAL_ALARMS = frozenset({"worker_lost"})
BROKEN_CODE_ALARM = "harness"

# Effect sizes of a sound Poisson process. Below the sample where an effect of that size could be told from chance
# the limit is widened to four standard errors, and under 100 arrivals nothing is said.
_ARRIVALS_MIN = 100
_ERRORS_WIDE = 4.0
_RATE_LIMIT = 0.01
_GAP_LIMIT = 0.05
_LAG1_LIMIT = 0.05
_DISPERSION_LIMIT = 0.1
_MORE_POWER = "spread the load over more processes or more hosts, or ask for less"
_QUIET = "end what else runs on this host (its load and steal are in environment.json), and run again"
_REPORT_DEFECT = "repeat the run; if it happens again, the generator has a defect: keep this folder as evidence"


def build_watchdog(tally: Tally, reconciliation: Reconciliation | None, target: TargetReport) -> Watchdog:
    """Every check of the instrument, in the order a reader should look at them."""
    return Watchdog(
        suspect_ratio=_suspect_ratio(tally.judged_stages),
        loop_lag_max_s=round(tally.loop_lag_max_s, 6),
        cpu_ratio_max=round(tally.cpu_ratio_max, 6),
        checks=(
            check_ending(tally),
            check_stages(tally),
            check_ledger(tally),
            check_suspects(tally),
            check_workers(tally),
            *check_code(tally),
            *check_arrivals(tally),
            *check_drops(tally),
            check_reconciliation(reconciliation, target),
            check_cpu(tally),
        ),
        alarms=tuple(
            RunAlarm(at_s=alarm.at_s, kind=clean_text(alarm.kind, 60), detail=clean_text(alarm.detail))
            for alarm in tally.alarms
        ),
    )


def build_ledger(tally: Tally) -> tuple[LedgerRow, ...]:
    """One row per stage in order, then the sum over all, warm-up included."""
    rows = [_ledger_row(stage) for stage in tally.stages.values()]
    names = ("scheduled", "started", "dropped", "finished", "refused", "failed", "cut_off", "late", "suspect")
    sums = {name: sum(int(getattr(row, name)) for row in rows) for name in names}
    return (*rows, LedgerRow(stage=None, is_balanced=all(row.is_balanced for row in rows), **sums))


def reconcile(total: LedgerRow, failures_without_answer: int, target: TargetReport) -> Reconciliation | None:
    """The target's count against ours; None when it gave none.

    It must have counted every request that got an answer and at most every request started. Between the two lie
    requests cut off, timed out or broken in the connection: they may or may not have reached it.
    """
    counted = target.requests_counted
    if counted is None:
        return None
    at_least = total.finished + total.failed - failures_without_answer
    at_most = total.started
    unexplained = max(at_least - counted, counted - at_most, 0)
    if unexplained:
        side = "fewer than were answered" if counted < at_least else "more than were started"
        text = f"the target counted {format_count(unexplained)} {side}"
    elif counted == total.finished + total.failed:
        text = "the target counted exactly the requests that ended here"
    else:
        text = f"the difference lies within {format_count(at_most - at_least)} cut off, timed out or disconnected"
    return Reconciliation(
        counted=counted, at_least=at_least, at_most=at_most, unexplained=unexplained, explanation=text
    )


def check_ending(tally: Tally) -> WatchdogCheck:
    """Whether the generator said goodbye; without it, it died."""
    if tally.ended is not None:
        return _ok("generator", f"{tally.ended.reason} after {format_length(tally.ended.at_s)}, and said so")
    reached = "before it sent anything" if tally.started is None else f"after {format_length(tally.last_s)}"
    advice = "look at the generator's own output for the cause, and run again"
    return _broken("generator", f"died {reached}, without its last message", advice)


def check_stages(tally: Tally) -> WatchdogCheck:
    """Whether every stage of the plan was run."""
    missing = [stage.name for stage in tally.stages.values() if stage.begin_s is None]
    if not missing:
        return _ok("stages", f"all {len(tally.stages)} ran")
    if tally.ended is not None and tally.ended.reason == "stopped":
        return WatchdogCheck(name="stages", outcome="skipped", detail="the run was stopped before all of them")
    return _broken("stages", f"never ran: {', '.join(missing)}", "make the stages longer, and run again")


def check_ledger(tally: Tally) -> WatchdogCheck:
    """Whether each stage accounts for every request."""
    wrong = [row for row in map(_ledger_row, tally.stages.values()) if not row.is_balanced]
    if not wrong:
        total = sum(stage.scheduled for stage in tally.stages.values())
        return _ok("ledger", f"balanced: {format_count(total)} scheduled, each accounted for")
    detail = "; ".join(
        f"{row.stage}: {row.scheduled} scheduled against {row.started} started + {row.dropped} dropped, "
        f"{row.started} started against {row.finished} finished + {row.failed} failed + {row.cut_off} cut off"
        for row in wrong
    )
    return _broken("ledger", f"does not balance in {detail}", _REPORT_DEFECT)


def check_suspects(tally: Tally) -> WatchdogCheck:
    """Whether more than 1 % of the samples outside warm-up were disturbed by the generator itself.

    A stage that a threshold judges for itself must hold the same, where it has samples enough to say so.
    """
    ratio = _suspect_ratio(tally.judged_stages)
    if ratio is None:
        return WatchdogCheck(name="timing", outcome="skipped", detail="no sample outside warm-up")
    detail = f"{format_ratio(ratio)} of samples suspect (limit {format_ratio(SUSPECT_RATIO_LIMIT)})"
    if ratio <= SUSPECT_RATIO_LIMIT:
        spoiled = list(_spoiled_stages(tally))
        if not spoiled:
            return _ok("timing", detail)
        detail = f"{', '.join(spoiled)} (limit {format_ratio(SUSPECT_RATIO_LIMIT)})"
    if tally.cpu_ratio_max < _CPU_RATIO_IDLE:
        busy = f"its busiest second took {format_ratio(tally.cpu_ratio_max)} of a core"
        return _broken(
            "timing", f"spoiled by something else on this host, the generator was idle ({busy}): {detail}", _QUIET
        )
    return _broken("timing", f"spoiled by the generator, which was the bottleneck: {detail}", _MORE_POWER)


def check_workers(tally: Tally) -> WatchdogCheck:
    """Whether every generating process was there to the end."""
    lost = [alarm for alarm in tally.alarms if alarm.kind in FATAL_ALARMS]
    if lost:
        detail = "; ".join(clean_text(alarm.detail, 80) for alarm in lost[:3])
        return _broken("workers", f"lost ({len(lost)}): {detail}", "find out why it ended, and run again")
    return _ok("workers", f"{format_processes(len(tally.workers))}, none lost")


def check_code(tally: Tally) -> Iterator[WatchdogCheck]:
    """Whether our own code held: a behaviour that raised sent less than it was to send. Nothing when it did."""
    broken = [alarm for alarm in tally.alarms if alarm.kind == BROKEN_CODE_ALARM]
    if broken:
        detail = "; ".join(clean_text(alarm.detail, 120) for alarm in broken[:3])
        yield _broken("code", f"of a user class or the dispatcher raised {detail}", "correct it, and run again")


def check_drops(tally: Tally) -> Iterator[WatchdogCheck]:
    """What no percentile covers: arrivals that found no room in flight. Nothing when there were none."""
    dropped = sum(stage.dropped for stage in tally.judged_stages)
    scheduled = sum(stage.scheduled for stage in tally.judged_stages)
    if dropped:
        detail = f"{format_count(dropped)} of {format_count(scheduled)} arrivals found no room and have no latency"
        advice = "thresholds take them as never answered; compare max_in_flight with rate times latency"
        yield WatchdogCheck(name="dropped", outcome="warning", detail=detail, advice=advice)


def check_arrivals(tally: Tally) -> Iterator[WatchdogCheck]:
    """Whether the arrivals of each open stage were those of the declared process."""
    if not tally.plan.profile.is_open:
        return
    said = [arrivals for arrivals in tally.arrivals if arrivals.count >= _ARRIVALS_MIN]
    if not said:
        yield WatchdogCheck(
            name="arrivals", outcome="skipped", detail=f"under {_ARRIVALS_MIN} arrivals in each stage"
        )
        return
    stages = ", ".join(dict.fromkeys(arrivals.stage for arrivals in said))
    is_poisson = tally.plan.profile.arrivals == "poisson"
    problems = [problem for arrivals in said for problem in _arrival_problems(arrivals, is_poisson)]
    if problems:
        yield _broken("arrivals", f"not those of the process asked for: {'; '.join(problems[:4])}", _REPORT_DEFECT)
    else:
        yield _ok("arrivals", f"{tally.plan.profile.arrivals} as asked in {stages}")


def check_reconciliation(reconciliation: Reconciliation | None, target: TargetReport) -> WatchdogCheck:
    """Whether the target counted what we did. A difference of a real target warns, and so does a mock not read."""
    if reconciliation is None:
        return WatchdogCheck(
            name="reconciliation",
            outcome="warning" if target.is_mock else "skipped",
            detail=target.not_counted or "the target's own request counter was not read",
        )
    if not reconciliation.unexplained:
        return _ok("reconciliation", f"{format_count(reconciliation.counted)} counted: {reconciliation.explanation}")
    outcome: CheckOutcome = "broken" if target.is_mock else "warning"
    advice = "make sure that nothing else sends requests to this target, and run again"
    return WatchdogCheck(
        name="reconciliation", outcome=outcome, detail=f"fails: {reconciliation.explanation}", advice=advice
    )


def check_cpu(tally: Tally) -> WatchdogCheck:
    """CPU of the busiest generating process; it warns and breaks nothing by itself."""
    detail = f"busiest second of a generating process: {format_ratio(tally.cpu_ratio_max)} of one core"
    if tally.cpu_ratio_max < CPU_RATIO_WARNING:
        return _ok("cpu", detail)
    return WatchdogCheck(name="cpu", outcome="warning", detail=detail, advice=_MORE_POWER)


def _ledger_row(stage: StageTotals) -> LedgerRow:
    return LedgerRow(
        stage=stage.name,
        scheduled=stage.scheduled,
        started=stage.started,
        dropped=stage.dropped,
        finished=stage.finished,
        refused=stage.refused,
        failed=stage.failed,
        cut_off=stage.cut_off,
        late=stage.late,
        suspect=stage.suspect,
        is_balanced=(
            stage.scheduled == stage.started + stage.dropped
            and stage.started == stage.finished + stage.failed + stage.cut_off
        ),
    )


def _suspect_ratio(stages: list[StageTotals]) -> float | None:
    samples = sum(stage.finished + stage.failed for stage in stages) or sum(stage.started for stage in stages)
    return round(sum(stage.suspect for stage in stages) / samples, 9) if samples else None


def _spoiled_stages(tally: Tally) -> Iterator[str]:
    for name in dict.fromkeys(each.stage for each in tally.plan.profile.thresholds if each.stage is not None):
        stage = tally.stages[name]
        ratio = _suspect_ratio([stage])
        if ratio is not None and ratio > SUSPECT_RATIO_LIMIT and stage.suspect >= _SUSPECTS_MIN:
            yield f"{format_ratio(ratio)} of samples of {name} suspect"


def _arrival_problems(arrivals: Arrivals, is_poisson: bool) -> Iterator[str]:
    error = _ERRORS_WIDE / math.sqrt(arrivals.count)
    variation = 1.0 if is_poisson else 0.0
    rate_limit = max(_RATE_LIMIT, error) if is_poisson else max(_RATE_LIMIT, 2 / arrivals.count)
    # Standard errors for exponential gaps: 1/√n for rate, variation and lag-1 correlation; √(2/cells) for the
    # dispersion, which the generator takes over cells of four expected arrivals.
    tests = [
        ("rate", arrivals.rate_ratio, 1.0, rate_limit),
        ("gap variation", arrivals.gap_variation, variation, max(_GAP_LIMIT, error)),
    ]
    if is_poisson:
        dispersion_error = _ERRORS_WIDE * math.sqrt(8 / arrivals.count)
        tests.append(("lag-1 correlation", arrivals.lag1_correlation, 0.0, max(_LAG1_LIMIT, error)))
        tests.append(("dispersion", arrivals.dispersion, 1.0, max(_DISPERSION_LIMIT, dispersion_error)))
    for name, value, wanted, limit in tests:
        if value is not None and abs(value - wanted) > limit:
            yield f"{name} {value:.3f} in {arrivals.stage} ({arrivals.worker}), wanted {wanted:g} ± {limit:.3f}"


def _ok(name: str, detail: str) -> WatchdogCheck:
    return WatchdogCheck(name=name, outcome="ok", detail=detail)


def _broken(name: str, detail: str, advice: str) -> WatchdogCheck:
    return WatchdogCheck(name=name, outcome="broken", detail=detail, advice=advice)
