"""The final summary for a terminal: readable at 80 columns and without colour. Everything foreign is cleaned."""

from collections.abc import Iterable

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

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

VERDICT_STYLES = {
    "pass": "bold white on green",
    "fail": "bold white on red",
    "invalid": "bold white on magenta",
    "insufficient": "bold black on yellow",
    "interrupted": "bold black on yellow",
}
_OUTCOME_STYLES = {"pass": "green", "fail": "bold red", "insufficient": "yellow", "not_measured": "dim"}
_CHECK_STYLES = {"ok": "green", "warning": "yellow", "broken": "bold red", "skipped": "dim"}
_SHOWN_FAILURES = 5


def build_terminal_summary(result: RunResult, folder: str) -> RenderableType:
    """Verdict and why, thresholds, stages, failures, what was wrong with the instrument, and where the folder is."""
    parts: list[RenderableType] = [_headline(result), Text("")]
    if result.thresholds:
        parts += [_threshold_table(result.thresholds), Text("")]
    parts += [_statistics_table(result), Text("")]
    if result.failures:
        parts += [_failure_table(result), Text("")]
    parts += [_ledger_line(result), *_check_lines(result), Text("")]
    parts.append(Text(f"Results: {clean_text(folder, 400)}", overflow="fold"))
    parts.append(Text(f"Report:  {clean_text(folder, 400)}/report.html", overflow="fold"))
    return Group(*parts)


def _headline(result: RunResult) -> RenderableType:
    verdict = result.verdict
    title = Text.assemble(
        (f" {verdict.name.upper()} ", VERDICT_STYLES[verdict.name]),
        f"  {result.profile.stack}/{result.profile.name}",
        (f"  {format_length(result.duration_s)}", "dim"),
        (f"  TIME_SCALE={result.time_scale:g}" if result.time_scale != 1 else "", "yellow"),
    )
    why = Text(clean_text(verdict.why, 1000))
    step = Text.assemble(("next: ", "dim"), clean_text(verdict.next_step))
    return Group(title, Padding(Group(why, step), (0, 0, 0, 2)))


def _table(*heads: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="bold")
    for index, head in enumerate(heads):
        table.add_column(head, justify="left" if index == 0 else "right", overflow="fold", no_wrap=index > 0)
    return table


def _threshold_table(thresholds: Iterable[ThresholdOutcome]) -> Table:
    table = _table("threshold", "where", "measured", "samples", "outcome")
    for each in thresholds:
        outcome = each.outcome.replace("_", " ") + ("" if each.hard else "*")
        table.add_row(
            Text(clean_text(each.check)),
            Text(clean_text(each.where, 40)),
            format_quantity(each.value, each.unit),
            format_count(each.samples),
            Text(outcome, style=_OUTCOME_STYLES[each.outcome]),
        )
    return table


def _statistics_table(result: RunResult) -> Table:
    table = _table("", "finished", "rate", "errors", "p50", "p95", "p99", "max")
    for row in result.statistics:
        if row.request is None or (row.stage is None and row.request is not None):
            table.add_row(*_statistics_cells(row), style="bold" if row.stage is None and row.request is None else "")
    return table


def _statistics_cells(row: StatisticsRow) -> list[RenderableType]:
    timing = row.timings.get("latency")
    stage = format_stage(row.stage, is_warmup=row.warmup) if row.stage else "run"
    scope = f"  {clean_text(row.request, 40)}" if row.request else stage
    return [
        Text(scope),
        format_count(row.finished),
        format_rate(row.rate),
        format_ratio(row.error_ratio),
        *(format_seconds(timing.percentiles_s[name] if timing else None) for name in ("p50", "p95", "p99")),
        format_seconds(timing.max_s if timing else None),
    ]


def _failure_table(result: RunResult) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("failures", justify="right", no_wrap=True)
    table.add_column("kind", no_wrap=True)
    table.add_column("stage", overflow="fold")
    table.add_column("message", overflow="fold")
    for row in result.failures[:_SHOWN_FAILURES]:
        table.add_row(
            format_count(row.count),
            row.kind.replace("_", " "),
            Text(row.stage),
            Text(f"{clean_text(row.request, 40)}: {clean_text(row.detail, 120)}"),
        )
    return table


def _ledger_line(result: RunResult) -> Text:
    total = result.totals
    words = [f"{format_count(total.scheduled)} scheduled = {format_count(total.started)} started"]
    words.append(f"+ {format_count(total.dropped)} dropped; started = {format_count(total.finished)} finished")
    words.append(f"+ {format_count(total.failed)} failed + {format_count(total.cut_off)} cut off")
    state = ("balanced", "green") if total.is_balanced else ("DOES NOT BALANCE", "bold red")
    return Text.assemble(("ledger  ", "bold"), " ".join(words), " (", state, ")")


def _check_lines(result: RunResult) -> list[Text]:
    """Every check that is not plainly fine; one line that says so when all are."""
    notable = [check for check in result.watchdog.checks if check.outcome in {"warning", "broken"}]
    if not notable:
        return [Text.assemble(("watch   ", "bold"), ("the generator was sound", "green"))]
    return [
        Text.assemble(
            ("watch   ", "bold"),
            f"{check.name} ",
            (check.outcome, _CHECK_STYLES[check.outcome]),
            f": {clean_text(check.detail, 400)}",
            (f" → {check.advice}" if check.advice else "", "dim"),
        )
        for check in notable
    ]
