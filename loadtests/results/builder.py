"""From the tally to the result, and from the result to the files of the run folder."""

from collections.abc import Mapping
from datetime import UTC, datetime

from loadtests.model import Plan
from loadtests.results.fold import Tally
from loadtests.results.formats import clean_text
from loadtests.results.judge import judge_thresholds
from loadtests.results.junit import render_junit
from loadtests.results.model import (
    FailureRow,
    GitState,
    RunResult,
    StageTimes,
    TargetReport,
    ThresholdOutcome,
    Verdict,
    Watchdog,
    digest_profile,
)
from loadtests.results.report import render_report
from loadtests.results.soundness import build_ledger, build_watchdog, reconcile
from loadtests.results.statistics import build_statistics
from loadtests.results.store import RunFolder, load_result
from loadtests.results.summary import render_summary
from loadtests.results.tables import render_failures, render_history, render_statistics
from loadtests.results.verdict import decide_verdict

_UNANSWERED = frozenset({"timeout", "connection"})


def build_result(
    tally: Tally,
    *,
    created_unix: float,
    target: TargetReport,
    versions: Mapping[str, str],
    git: GitState | None,
    is_interrupted: bool,
    repeat_command: str | None = None,
) -> RunResult:
    """Judges what the tally holds; call `tally.finish()` first. A run its generator calls stopped is interrupted."""
    plan = tally.plan
    ledger = build_ledger(tally)
    failures = _build_failures(tally)
    unanswered = sum(row.count for row in failures if row.kind in _UNANSWERED)
    reconciliation = reconcile(ledger[-1], unanswered, target)
    watchdog = build_watchdog(tally, reconciliation, target)
    thresholds = judge_thresholds(tally, target.values)
    started = tally.started
    return RunResult(
        run_id=plan.run_id,
        short_id=plan.short_id,
        created=datetime.fromtimestamp(created_unix, UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        started_unix=started.unix if started else None,
        duration_s=round(tally.last_s, 3),
        processes=started.processes if started else 0,
        profile=plan.profile,
        profile_digest=digest_profile(plan.profile),
        time_scale=plan.time_scale,
        comparable_note=_comparable_note(plan),
        repeat_command=repeat_command or build_repeat_command(plan),
        target=target,
        versions={**(started.versions if started else {}), **versions},
        git=git,
        stages=_build_stages(tally),
        statistics=build_statistics(tally),
        failures=failures,
        ledger=ledger,
        reconciliation=reconciliation,
        thresholds=thresholds,
        watchdog=watchdog,
        verdict=_decide(tally, thresholds, watchdog, is_interrupted=is_interrupted),
    )


def write_all(folder: RunFolder, result: RunResult, environment: Mapping[str, object] | None) -> None:
    """Writes `run.json` first, then everything that is rendered from it and from what was appended while running."""
    folder.write_text("run.json", result.to_json())
    if environment is not None:
        folder.write_json("environment.json", dict(environment))
    render_all(folder)


def render_all(folder: RunFolder) -> RunResult:
    """Renders a stored run again: tables, summary, junit and report. Returns its result."""
    result = load_result(folder.path)
    series, events = folder.load_series(), folder.load_events()
    folder.write_text("stats.csv", render_statistics(result))
    folder.write_text("stats_history.csv", render_history(series))
    folder.write_text("failures.csv", render_failures(result))
    folder.write_text("summary.md", render_summary(result))
    folder.write_text("junit.xml", render_junit(result))
    folder.write_text("report.html", render_report(result, series, events, folder.load_environment()))
    return result


def build_repeat_command(plan: Plan) -> str:
    """The command that runs the same again on the lab."""
    scale = "" if plan.time_scale == 1 else f" TIME_SCALE={plan.time_scale:g}"
    return f"make test-load-{plan.profile.name} STACK={plan.profile.stack}{scale}"


def _decide(
    tally: Tally, thresholds: tuple[ThresholdOutcome, ...], watchdog: Watchdog, *, is_interrupted: bool
) -> Verdict:
    is_stopped = tally.ended is not None and tally.ended.reason == "stopped"
    return decide_verdict(
        is_interrupted=is_interrupted or is_stopped,
        is_exploratory=tally.plan.profile.exploratory,
        finished=sum(stage.finished for stage in tally.judged_stages),
        thresholds=thresholds,
        watchdog=watchdog,
    )


def _comparable_note(plan: Plan) -> str:
    if plan.time_scale == 1:
        return "full length: comparable with runs of the same profile digest"
    return (
        f"TIME_SCALE={plan.time_scale:g}: every stage, ramp and window was shortened; "
        "never comparable with a run of full length"
    )


def _build_stages(tally: Tally) -> tuple[StageTimes, ...]:
    return tuple(
        StageTimes(
            name=planned.name,
            warmup=planned.warmup,
            planned_s=round(planned.duration_s * tally.plan.time_scale, 6),
            begin_s=tally.stages[planned.name].begin_s,
            end_s=tally.stages[planned.name].end_s,
        )
        for planned in tally.plan.profile.stages
    )


def _build_failures(tally: Tally) -> tuple[FailureRow, ...]:
    unix = tally.started.unix if tally.started else 0.0
    rows = [
        FailureRow(
            stage=stage.name,
            request=request,
            kind=kind,
            detail=clean_text(detail),
            count=found.count,
            first_unix=round(unix + found.first_s, 3),
            last_unix=round(unix + found.last_s, 3),
        )
        for stage in tally.stages.values()
        for request, totals in stage.requests.items()
        for (kind, detail), found in totals.failures.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.count, row.stage, row.request, row.kind, row.detail)))
