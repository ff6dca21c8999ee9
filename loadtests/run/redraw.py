"""Draws the files of a stored run again from its `run.json` and logs."""

from pathlib import Path

from loadtests.errors import UsageError
from loadtests.results.builder import render_all
from loadtests.results.store import RunFolder


def redraw(path: Path | None, results_root: Path) -> Path:
    """The report drawn again for the run at `path`, or for the newest one; raises UsageError when there is none."""
    folder = path if path is not None else _newest(results_root)
    render_all(RunFolder(folder))
    return folder / "report.html"


def _newest(results_root: Path) -> Path:
    runs = sorted(path.parent for path in results_root.glob("*/run.json"))
    if not runs:
        raise UsageError(f"{results_root}: holds no run; make one with `make test-load-smoke`")
    return runs[-1]
