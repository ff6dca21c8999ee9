"""Lines of an HdrHistogram interval log (format 1.2), as every HdrHistogram reader takes them. Writes no file."""

import json
from datetime import UTC, datetime

from loadtests.results.histograms import Distribution

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"'


def build_header(stage: str, request: str, metric: str, started_unix: float) -> str:
    """The head of a new log: what it holds, and the moment its relative times count from."""
    scope = json.dumps({"stage": stage, "request": request, "metric": metric, "unit": "us"})
    moment = datetime.fromtimestamp(started_unix, UTC).isoformat(timespec="milliseconds")
    return (
        "#[Histogram log format version 1.2]\n"
        f"#{scope}\n"
        f"#[BaseTime: {started_unix:.3f} (seconds since epoch)]\n"
        f"#[StartTime: {started_unix:.3f} (seconds since epoch), {moment}]\n"
        f"{_LEGEND}\n"
    )


def build_line(start_s: float, end_s: float, payload: str) -> str:
    """One interval, with its maximum in milliseconds; the payload travels unchanged."""
    maximum_s = Distribution.of([payload]).max_s or 0.0
    return f"{start_s:.3f},{end_s - start_s:.3f},{maximum_s * 1000:.3f},{payload}\n"
