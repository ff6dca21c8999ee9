"""What `up` and `status` print, as aligned plain text. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from mock_server.lab.state import LabState


@dataclass(frozen=True)
class ServiceStatus:
    """One line of `status`. `pid`, `uptime_s` and `memory_bytes` are None when the service does not run."""

    name: str
    state: str
    pid: int | None
    uptime_s: float | None
    memory_bytes: int | None
    is_ready: bool
    url: str


def render_addresses(state: LabState) -> str:
    """The URLs of a lab that is up, and what it runs without."""
    rows = [(label, url) for service in state.services for label, url in service.links]
    return "\n".join([render_columns(rows), *(f"  {note}" for note in state.notes)])


def render_status(statuses: Sequence[ServiceStatus]) -> str:
    """The table of `status`, headed."""
    heading = ("SERVICE", "STATE", "READY", "PID", "UPTIME", "MEMORY", "URL")
    return render_columns([heading, *(_build_row(status) for status in statuses)])


def _build_row(status: ServiceStatus) -> tuple[str, ...]:
    return (
        status.name,
        status.state.lower(),
        "yes" if status.is_ready else "no",
        "-" if status.pid is None else str(status.pid),
        "-" if status.uptime_s is None else format_duration(status.uptime_s),
        "-" if status.memory_bytes is None else f"{status.memory_bytes / 2**20:.0f} MiB",
        status.url,
    )


def render_columns(rows: Sequence[Sequence[str]]) -> str:
    """`rows` as left-aligned columns, two spaces apart and two from the margin."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def format_duration(duration_s: float) -> str:
    """`duration_s` in its two largest units: 42s, 3m05s, 2h07m, 4d03h."""
    seconds = max(0, int(duration_s))
    for unit, per_unit, part, per_part in (("d", 86400, "h", 3600), ("h", 3600, "m", 60), ("m", 60, "s", 1)):
        if seconds >= per_unit:
            return f"{seconds // per_unit}{unit}{seconds % per_unit // per_part:02d}{part}"
    return f"{seconds}s"
