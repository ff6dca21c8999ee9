"""What a process uses, from /proc."""

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """CPU seconds since it started, resident bytes, and number of open files."""

    cpu_s: float
    resident_bytes: int
    open_files: int


def read_usage(pid: int, proc: Path = Path("/proc")) -> Usage | None:
    """Returns what the process uses now, or None when it is gone or the system has no /proc."""
    folder = proc / str(pid)
    try:
        # The command in parentheses may hold spaces; user and system time are fields 14 and 15 of the line.
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        pages = int((folder / "statm").read_text().split()[1])
        open_files = sum(1 for _ in (folder / "fd").iterdir())
    except (OSError, IndexError, ValueError):
        return None
    ticks = int(fields[11]) + int(fields[12])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"), open_files)
