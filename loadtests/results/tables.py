"""The CSV tables with the columns Locust users expect: milliseconds, `N/A` where the sample is not deep enough."""

import csv
import io
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from loadtests.results.formats import clean_text, format_milliseconds
from loadtests.results.model import RunResult, StatisticsRow
from loadtests.results.series import SeriesPoint

_PERCENTILES = ("p50", "p66", "p75", "p80", "p90", "p95", "p98", "p99", "p99.9", "p99.99")
_PERCENTILE_COLUMNS = ("50%", "66%", "75%", "80%", "90%", "95%", "98%", "99%", "99.9%", "99.99%", "100%")
STATISTICS_COLUMNS = (
    "Type", "Name", "Request Count", "Failure Count", "Median Response Time", "Average Response Time",
    "Min Response Time", "Max Response Time", "Average Content Size", "Requests/s", "Failures/s",
    *_PERCENTILE_COLUMNS,
)  # fmt: skip
HISTORY_COLUMNS = (
    "Timestamp", "User Count", "Type", "Name", "Requests/s", "Failures/s", *_PERCENTILE_COLUMNS,
    "Total Request Count", "Total Failure Count", "Total Median Response Time", "Total Average Response Time",
    "Total Min Response Time", "Total Max Response Time", "Total Average Content Size",
)  # fmt: skip
FAILURE_COLUMNS = ("Method", "Name", "Error", "Occurrences", "First Seen", "Last Seen")
_MISSING = "N/A"
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def render_statistics(result: RunResult) -> str:
    """`stats.csv`: one row for each request over the run without warm-up, then `Aggregated`."""
    rows = [row for row in result.statistics if row.stage is None]
    named = [row for row in rows if row.request is not None]
    return _table(
        STATISTICS_COLUMNS, (_statistics_cells(row) for row in [*named, *(r for r in rows if not r.request)])
    )


def render_history(series: Sequence[SeriesPoint]) -> str:
    """`stats_history.csv`: one row a second, totals counted from the start (warm-up included, as Locust does)."""
    return _table(HISTORY_COLUMNS, _history_cells(series))


def render_failures(result: RunResult) -> str:
    """`failures.csv`: one row for each message, over all stages."""
    merged: dict[tuple[str, str], tuple[int, float, float]] = {}
    for row in result.failures:
        key = (row.request, f"{row.kind}: {clean_text(row.detail)}")
        count, first, last = merged.get(key, (0, row.first_unix, row.last_unix))
        merged[key] = (count + row.count, min(first, row.first_unix), max(last, row.last_unix))
    return _table(
        FAILURE_COLUMNS,
        (
            [*_split_name(request), error, count, _moment(first), _moment(last)]
            for (request, error), (count, first, last) in merged.items()
        ),
    )


def guard_cell(value: object) -> object:
    """The value as a spreadsheet must not run it: text that starts like a formula gets a leading apostrophe."""
    if isinstance(value, str):
        text = value.replace("\x00", "")
        return "'" + text if text.startswith(_FORMULA_STARTS) else text
    return value


def _statistics_cells(row: StatisticsRow) -> list[object]:
    timing = row.timings.get("latency")
    percentiles = timing.percentiles_s if timing else {}
    maximum = timing.max_s if timing else None
    return [
        *(("", "Aggregated") if row.request is None else _split_name(row.request)),
        row.count,
        row.failed,
        _ms(percentiles.get("p50")),
        _ms(timing.mean_s if timing else None),
        _ms(timing.min_s if timing else None),
        _ms(maximum),
        f"{row.bytes_received / row.count:.1f}" if row.count else "0",
        _per_second(row.count, row.duration_s),
        _per_second(row.failed, row.duration_s),
        *(_ms(percentiles.get(name)) for name in _PERCENTILES),
        _ms(maximum),
    ]


def _history_cells(series: Sequence[SeriesPoint]) -> Iterable[list[object]]:
    count = failed = received = 0
    for point in series:
        count += point.finished + point.failed
        failed += point.failed
        received += point.bytes_received
        known = {"50%": point.p50_s, "95%": point.p95_s, "99%": point.p99_s, "100%": point.max_s}
        yield [
            int(point.unix),
            point.users,
            "",
            "Aggregated",
            f"{point.achieved_rate + point.failed_rate:.6f}",
            f"{point.failed_rate:.6f}",
            *(_ms(known.get(column)) for column in _PERCENTILE_COLUMNS),
            count,
            failed,
            *(_ms(v) for v in (point.run_p50_s, point.run_mean_s, point.run_min_s, point.run_max_s)),
            f"{received / count:.1f}" if count else "0",
        ]


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([guard_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def _split_name(request: str) -> tuple[str, str]:
    """`POST /chat` as Locust has it: method and name apart; a name without method keeps an empty one."""
    shown = clean_text(request)
    method, _, name = shown.partition(" ")
    return (method, name) if name and method.isascii() and method.isalpha() and method.isupper() else ("", shown)


def _per_second(count: int, duration_s: float) -> str:
    return f"{count / duration_s:.6f}" if duration_s else "0"


def _ms(value_s: float | None) -> str:
    return format_milliseconds(value_s) or _MISSING


def _moment(unix: float) -> str:
    return datetime.fromtimestamp(unix, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
