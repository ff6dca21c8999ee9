"""What the report says in words and figures: tiles, facts of the run, facts of the host. No markup."""

from collections.abc import Iterator, Mapping

from loadtests.results.formats import format_count, format_rate, format_ratio, format_seconds
from loadtests.results.model import RunResult

_ENVIRONMENT_DEPTH = 4
_ENVIRONMENT_SHOWN = 24

Fact = tuple[str, str]


def build_tiles(result: RunResult) -> list[tuple[str, str, str]]:
    """The six figures of the run (warm-up excepted): name, value, remark."""
    row = result.row()
    timing = row.timings.get("latency") if row else None
    percentiles = timing.percentiles_s if timing else {}
    remark = "latency" if timing else "nothing measured"
    return [
        ("finished", format_count(row.finished if row else None), "requests"),
        ("rate", format_rate(row.rate if row else None), "finished"),
        (
            "errors",
            format_ratio(row.error_ratio if row else None),
            f"{format_count(row.failed if row else 0)} failed",
        ),
        *((name, format_seconds(percentiles.get(name)), remark) for name in ("p50", "p95", "p99")),
    ]


def build_facts(result: RunResult) -> list[Fact]:
    """What identifies the run and says whether another is comparable."""
    profile = result.profile
    commit = (
        "unknown" if result.git is None else result.git.sha[:12] + (" with changes" if result.git.is_dirty else "")
    )
    facts = [
        ("Run", result.run_id),
        ("Started", result.created.replace("T", " ").replace("Z", " UTC")),
        ("Length", f"{format_seconds(result.duration_s)} ({result.processes} generating process(es))"),
        ("Profile", f"{profile.stack}/{profile.name}: {profile.description}"),
        ("Load model", _describe_model(result)),
        ("Comparable", result.comparable_note),
        ("Profile digest", result.profile_digest),
        *((f"Target {name}", url) for name, url in result.target.urls.items()),
        *((name.replace("_", " ").capitalize(), value) for name, value in result.target.facts.items()),
        ("Commit", commit),
        ("Versions", ", ".join(f"{name} {version}" for name, version in sorted(result.versions.items()))),
    ]
    return [(name, value) for name, value in facts if value]


def build_environment_facts(environment: Mapping[str, object] | None) -> list[Fact]:
    """The first plain values of the snapshot taken before the run, by their path."""
    if environment is None:
        return []
    before = environment.get("before", environment)
    return [(path, value) for _, (path, value) in zip(range(_ENVIRONMENT_SHOWN), _flatten(before), strict=False)]


def _describe_model(result: RunResult) -> str:
    profile = result.profile
    if profile.is_open:
        return f"open: {profile.arrivals} arrivals at a rate, at most {format_count(profile.max_in_flight)} in flight"
    low, high = profile.think_time.min_s, profile.think_time.max_s
    pause = format_seconds(low) if low == high else f"{format_seconds(low)} to {format_seconds(high)}"
    return f"closed: users with think time {pause}"


def _flatten(value: object, path: tuple[str, ...] = ()) -> Iterator[Fact]:
    if isinstance(value, Mapping):
        if len(path) < _ENVIRONMENT_DEPTH:
            for key, child in value.items():
                yield from _flatten(child, (*path, str(key)))
    elif isinstance(value, list):
        if value and len(value) <= 8 and all(isinstance(item, str | int | float) for item in value):
            yield " · ".join(path), ", ".join(str(item) for item in value)
    elif value is not None and value != "":
        yield " · ".join(path), str(value)
