"""Feeds Locust's own statistics once a second, so that its web UI, console and CSV show what the recorder counted."""

from typing import Any

import numpy as np
from locust import stats as locust_stats
from locust.stats import StatsError

from loadtests.engine.histogram import bucket_seconds
from loadtests.engine.recorder import Cell

_KEEP_SECONDS = 60


def feed(stats: Any, cells: list[Cell], unix_s: float) -> None:
    """Adds what ended since the last flush to a `RequestStats`, at the wall-clock second given."""
    for cell in cells:
        method, _, name = cell.request.partition(" ")
        entry = stats.entries[(name, method)]
        for target in (entry, stats.total):
            _add(target, cell, unix_s)
        for (kind, detail), count in cell.failures.items():
            text = f"{kind}: {detail}"
            key = StatsError.create_key(method, name, text)
            error = stats.errors.setdefault(key, StatsError(method, name, text))
            error.occurrences += count


def _add(entry: Any, cell: Cell, unix_s: float) -> None:
    second, ended = int(unix_s), cell.finished + cell.failed
    if not ended:
        return
    if entry.use_response_times_cache and entry.last_request_timestamp and second > int(entry.last_request_timestamp):
        entry._cache_response_times(second - 1)
    entry.num_requests += ended
    entry.num_failures += cell.failed
    entry.num_reqs_per_sec[second] += ended
    if cell.failed:
        entry.num_fail_per_sec[second] += cell.failed
    entry.last_request_timestamp = unix_s
    entry.total_content_length += cell.bytes_received
    used = np.flatnonzero(cell.latency)
    counts = cell.latency[used]
    entry.num_none_requests += ended - int(counts.sum())
    for latency_s, count in zip(bucket_seconds(used).tolist(), counts.tolist(), strict=True):
        latency_ms = latency_s * 1000
        entry.response_times[locust_stats.bucket_response_time(latency_ms)] += count
        entry.total_response_time += latency_ms * count
        entry.max_response_time = max(entry.max_response_time, latency_ms)
        lowest = entry.min_response_time
        entry.min_response_time = latency_ms if lowest is None else min(lowest, latency_ms)
    for per_second in (entry.num_reqs_per_sec, entry.num_fail_per_sec):
        for old in [known for known in per_second if known < second - _KEEP_SECONDS]:
            del per_second[old]
