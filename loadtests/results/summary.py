"""The result as `summary.md`: the verdict first, then what it stands on. Formats only what the result holds."""

from collections.abc import Iterable, Sequence

from loadtests.results.formats import (
    clean_text,
    format_count,
    format_length,
    format_quantity,
    format_rate,
    format_ratio,
    format_seconds,
    format_stage,
)
from loadtests.results.model import RunResult, StatisticsRow, ThresholdOutcome

_MARKDOWN = str.maketrans({char: "\\" + char for char in "\\`*_{}[]<>#|!~&"})
_SHOWN_FAILURES = 10
_PERCENTILES = ("p50", "p95", "p99", "p99.9")


def render_summary(result: RunResult) -> str:
    """Markdown for people and for a CI step summary."""
    parts = [
        f"# {result.verdict.name.upper()}: {result.profile.stack}/{result.profile.name}",
        f"**Why:** {_text(result.verdict.why, 1000)}.",
        f"**Next:** {_text(result.verdict.next_step)}.",
        _facts(result),
        *_thresholds(result.thresholds),
        "## Stages",
        _statistics(r for r in result.statistics if r.request is None),
        "## Requests (run without warm-up)",
        _statistics(r for r in result.statistics if r.stage is None and r.request is not None),
        *_failures(result),
        "## Ledger",
        _ledger(result),
        "## The instrument",
        "\n".join(
            f"- {check.outcome}: **{_text(check.name)}**, {_text(check.detail)}" for check in result.watchdog.checks
        ),
        f"Repeat: `{result.repeat_command}`",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(result: RunResult) -> str:
    commit = f"{result.git.sha[:12]}{' (with changes)' if result.git.is_dirty else ''}" if result.git else "unknown"
    targets = ", ".join(f"{_text(name)} {_text(url)}" for name, url in result.target.urls.items())
    return "\n".join(
        [
            f"- Run `{result.run_id}`, {result.created}, {format_length(result.duration_s)}",
            f"- Target: {targets}",
            f"- {_text(result.comparable_note)}",
            f"- Commit {commit}, profile {result.profile_digest}",
        ]
    )


def _thresholds(thresholds: Sequence[ThresholdOutcome]) -> list[str]:
    if not thresholds:
        return []
    head = ["Threshold", "Where", "Measured", "Samples", "Outcome"]
    rows = [
        [
            _text(each.check),
            _text(each.where),
            format_quantity(each.value, each.unit),
            format_count(each.samples),
            f"{each.outcome.replace('_', ' ')}{'' if each.hard else ' (reported only)'}",
        ]
        for each in thresholds
    ]
    return ["## Thresholds", _table(head, rows)]


def _statistics(rows: Iterable[StatisticsRow]) -> str:
    head = ["Scope", "Finished", "Failed", "Rate", "Errors", *_PERCENTILES, "max"]
    return _table(head, [_statistics_cells(row) for row in rows])


def _statistics_cells(row: StatisticsRow) -> list[str]:
    timing = row.timings.get("latency")
    stage = format_stage(row.stage, is_warmup=row.warmup) if row.stage else "run"
    return [
        _text(row.request or stage),
        format_count(row.finished),
        format_count(row.failed),
        format_rate(row.rate),
        format_ratio(row.error_ratio),
        *(format_seconds(timing.percentiles_s[name] if timing else None) for name in _PERCENTILES),
        format_seconds(timing.max_s if timing else None),
    ]


def _failures(result: RunResult) -> list[str]:
    if not result.failures:
        return []
    rows = [
        [format_count(f.count), f.kind.replace("_", " "), _text(f.stage), _text(f.request), _text(f.detail)]
        for f in result.failures[:_SHOWN_FAILURES]
    ]
    return ["## Failures", _table(["Count", "Kind", "Stage", "Request", "Message"], rows)]


def _ledger(result: RunResult) -> str:
    head = ["Stage", "Scheduled", "Started", "Dropped", "Finished", "Failed", "Cut off", "Late", "Balanced"]
    rows = [
        [
            _text(row.stage or "total"),
            *(
                format_count(n)
                for n in (row.scheduled, row.started, row.dropped, row.finished, row.failed, row.cut_off, row.late)
            ),
            "yes" if row.is_balanced else "NO",
        ]
        for row in result.ledger
    ]
    return _table(head, rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _text(text: str, limit: int = 200) -> str:
    return clean_text(text, limit).translate(_MARKDOWN)
