"""The services' logs: the last lines of one, and the command that follows them all."""

from collections.abc import Sequence
from pathlib import Path

from mock_server.lab.errors import LabError

_READ_BYTES = 16384


def read_last_lines(path: Path, count: int = 15) -> str:
    """The last `count` lines of `path`, indented; says so when there is none."""
    try:
        with path.open("rb") as handle:
            size_bytes = handle.seek(0, 2)
            handle.seek(max(0, size_bytes - _READ_BYTES))
            lines = handle.read().decode(errors="replace").splitlines()[-count:]
    except FileNotFoundError:
        lines = []
    return "\n".join(f"  {line}" for line in lines) or f"  ({path} holds nothing)"


def build_tail_command(log_dir: Path, service: str | None, *, follow: bool, lines: int) -> list[str]:
    """The `tail` that prints the logs of one service or of all. Raises LabError naming what there is."""
    found = sorted(log_dir.glob("*.log"))
    known = [path.stem for path in found]
    if service is not None and service not in known:
        raise LabError(f"No log of {service!r} in {log_dir}; there are: {', '.join(known) or 'none yet'}.")
    if not found:
        raise LabError(f"No logs in {log_dir} yet; `make up` writes them.")
    chosen = [path for path in found if service in (None, path.stem)]
    options: Sequence[str] = ["-F"] if follow else []
    return ["tail", "-n", str(lines), *options, *map(str, chosen)]
