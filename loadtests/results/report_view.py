"""What the report says in words and figures: tiles, facts of the run, facts of the host. No markup."""

from collections.abc import Mapping

from loadtests.results.formats import (
    format_bytes,
    format_count,
    format_length,
    format_processes,
    format_rate,
    format_ratio,
    format_seconds,
)
from loadtests.results.model import RunResult

_ENVIRONMENT_FIELDS = {
    "os.name": "System",
    "kernel.release": "Kernel",
    "os.architecture": "Architecture",
    "machine.virtualisation": "Virtualisation",
    "machine.container": "Container",
    "cpu.model": "CPU",
    "cpu.logical_cpus": "CPUs",
    "cpu.governor": "CPU governor",
    "cpu.boost": "CPU boost",
    "memory.total_bytes": "Memory",
    "memory.swap_bytes": "Swap",
    "memory.transparent_huge_pages": "Huge pages",
    "cgroup.cpu_quota": "CPU quota",
    "cgroup.memory_limit_bytes": "Memory limit",
    "network.congestion_control": "Congestion control",
    "time.ntp_offset_s": "Clock offset, s",
    "software.python": "Python",
    "software.locust": "Locust",
    "software.redis_server": "Redis",
    "software.prometheus": "Prometheus",
    "activity.load_average": "Load before the run",
    "activity.steal_s": "CPU time stolen, s",
}

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
        ("Length", f"{format_length(result.duration_s)}, {format_processes(result.processes)}"),
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
    """What matters most of the snapshot taken before the run; a field it could not read is left out."""
    before = environment.get("before", environment) if environment else None
    fields = before.get("fields") if isinstance(before, Mapping) else None
    if not isinstance(fields, Mapping):
        return []
    known = ((label, _field_text(name, fields.get(name))) for name, label in _ENVIRONMENT_FIELDS.items())
    return [(label, text) for label, text in known if text]


def _describe_model(result: RunResult) -> str:
    profile = result.profile
    if profile.is_open:
        return f"open: {profile.arrivals} arrivals at a rate, at most {format_count(profile.max_in_flight)} in flight"
    low, high = profile.think_time.min_s, profile.think_time.max_s
    pause = format_seconds(low) if low == high else f"{format_seconds(low)} to {format_seconds(high)}"
    return f"closed: users with think time {pause}"


def _field_text(name: str, field: object) -> str:
    value = field.get("value") if isinstance(field, Mapping) else None
    if value is None or isinstance(value, Mapping):
        return ""
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if name.endswith("_bytes") and isinstance(value, int | float):
        return format_bytes(value)
    return str(value)
