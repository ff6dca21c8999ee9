"""Records the environment of this host around a run, through the same collector the playbooks use on others."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from loadtests.errors import HarnessError

COLLECTOR = Path("playbooks") / "module_utils" / "environment_snapshot.py"
TIMEOUT_S = 30.0


def take_snapshot(root: Path) -> dict[str, Any]:
    """The snapshot of this host as the collector prints it; raises HarnessError when it breaks."""
    return _json_of(root)


def render_snapshot(root: Path, snapshot_path: Path) -> str:
    """A stored snapshot as a readable page."""
    return _output_of(root, "--read", str(snapshot_path), "--page")


def compute_difference(root: Path, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What changed between two snapshots: fields by class, and the counters that moved."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / "before.json", Path(folder) / "after.json"]
        for path, snapshot in zip(paths, (before, after), strict=True):
            path.write_text(json.dumps(snapshot))
        return _json_of(root, "--difference", *map(str, paths))


def _json_of(root: Path, *arguments: str) -> dict[str, Any]:
    output = _output_of(root, *arguments)
    try:
        parsed = json.loads(output)
    except ValueError as error:
        raise HarnessError(f"{COLLECTOR}: did not print JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise HarnessError(f"{COLLECTOR}: printed a JSON {type(parsed).__name__}, want an object")
    return parsed


def _output_of(root: Path, *arguments: str) -> str:
    command = [sys.executable, str(root / COLLECTOR), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"{COLLECTOR}: could not be run ({error})") from error
    if done.returncode != 0:
        raise HarnessError(f"{COLLECTOR}: ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout
