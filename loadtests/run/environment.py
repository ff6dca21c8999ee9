"""Records the environment of this host around a run, through the same collector the playbooks use on others."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loadtests.errors import HarnessError

TIMEOUT_S = 30.0


def take_snapshot(root: Path) -> dict[str, Any]:
    """The snapshot of this host as the collector prints it; raises HarnessError when it breaks."""
    return _json_of(root, "environment_snapshot.py", [])


def render_snapshot(root: Path) -> str:
    """The snapshot of this host as a readable page."""
    return _output_of(root, "environment_snapshot.py", ["--page"], None)


def compute_difference(root: Path, before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """What changed between two snapshots: fields by class, and the counters that moved."""
    return _json_of(root, "snapshot_difference.py", [], json.dumps({"before": before, "after": after}))


def _json_of(root: Path, script: str, arguments: Sequence[str], stdin: str | None = None) -> dict[str, Any]:
    output = _output_of(root, script, arguments, stdin)
    try:
        parsed = json.loads(output)
    except ValueError as error:
        raise HarnessError(f"{script}: did not print JSON ({error})") from error
    if not isinstance(parsed, dict):
        raise HarnessError(f"{script}: printed {type(parsed).__name__}, want an object")
    return parsed


def _output_of(root: Path, script: str, arguments: Sequence[str], stdin: str | None) -> str:
    command = [sys.executable, str(root / "playbooks" / "module_utils" / script), *arguments]
    try:
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise HarnessError(f"{script}: could not be run ({error})") from error
    if done.returncode != 0:
        raise HarnessError(f"{script}: ended with {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout
