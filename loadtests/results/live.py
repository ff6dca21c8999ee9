"""Live progress for a terminal, from the tally alone: a few lines that change once a second."""

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loadtests.results.fold import StageTotals, Tally
from loadtests.results.formats import format_clock, format_count, format_rate, format_ratio, format_seconds
from loadtests.results.judge import judge_thresholds
from loadtests.results.series import SeriesPoint


def build_live(tally: Tally, elapsed_s: float) -> RenderableType:
    """Stage, time left, rate asked and achieved, percentiles, errors and verdict so far, `elapsed_s` into the run."""
    point = tally.latest
    planned_s = tally.plan.profile.duration_s * tally.plan.time_scale
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row("stage", _stage_line(tally, elapsed_s))
    grid.add_row("load", _load_line(point))
    grid.add_row("latency", _latency_line(point))
    grid.add_row("errors", _error_line(tally, point))
    grid.add_row("so far", describe_thresholds(tally))
    bar = Padding(ProgressBar(total=planned_s, completed=min(elapsed_s, planned_s), width=60), (0, 0))
    left = Text(f"{format_clock(elapsed_s)} of {format_clock(planned_s)}", style="bold")
    return Group(left, bar, grid)


def describe_thresholds(tally: Tally) -> Text:
    """How many thresholds hold, broke, or cannot be judged yet; target metrics are judged at the end only."""
    outcomes = judge_thresholds(tally, {})
    if not outcomes:
        return Text("no thresholds")
    counts = {name: sum(each.outcome == name for each in outcomes) for name in ("pass", "fail", "insufficient")}
    parts = [Text(f"{counts['pass']} hold", style="green")]
    if counts["fail"]:
        broken = next(each for each in outcomes if each.outcome == "fail")
        parts.append(
            Text(f"{counts['fail']} broken ({broken.check}, {broken.where}: {broken.why})", style="bold red")
        )
    if counts["insufficient"]:
        parts.append(Text(f"{counts['insufficient']} not enough data yet", style="yellow"))
    return Text(", ").join(parts)


def _stage_line(tally: Tally, elapsed_s: float) -> Text:
    stage: StageTotals | None = tally.current_stage
    if stage is None or stage.begin_s is None:
        return Text("starting" if tally.ended is None and tally.last_s == 0 else "between stages")
    names = list(tally.stages)
    planned = next(each for each in tally.plan.profile.stages if each.name == stage.name)
    left_s = max(0.0, stage.begin_s + planned.duration_s * tally.plan.time_scale - elapsed_s)
    text = Text.assemble((stage.name, "bold"), f" ({names.index(stage.name) + 1} of {len(names)})")
    text.append(f", {format_clock(left_s)} left")
    if planned.warmup:
        text.append(", warm-up: recorded, not judged")
    return text


def _load_line(point: SeriesPoint | None) -> Text:
    if point is None:
        return Text("–")
    asked = f"asked {format_rate(point.asked_rate)}, " if point.asked_rate is not None else ""
    text = Text(f"{asked}achieved {format_rate(point.achieved_rate)}, {format_count(point.users)} users")
    text.append(f", {format_count(point.in_flight)} in flight")
    return text


def _latency_line(point: SeriesPoint | None) -> Text:
    if point is None:
        return Text("–")
    shown = (("p50", point.p50_s), ("p95", point.p95_s), ("p99", point.p99_s))
    return Text("  ".join(f"{name} {format_seconds(value)}" for name, value in shown))


def _error_line(tally: Tally, point: SeriesPoint | None) -> Text:
    failed = sum(stage.failed for stage in tally.stages.values())
    finished = sum(stage.finished for stage in tally.stages.values())
    dropped = sum(stage.dropped for stage in tally.stages.values())
    now = format_ratio(point.error_ratio) if point else "–"
    ratio = failed / (finished + failed) if finished + failed else None
    text = Text(f"{format_count(failed)} failed ({format_ratio(ratio)}), {now} now", style="red" if failed else "")
    if dropped:
        text.append(f", {format_count(dropped)} dropped", style="red")
    return text
