"""Everything that can be known to be wrong before a run, found before any load and reported all at once."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from loadtests.errors import LoadTestError, TargetError, UsageError
from loadtests.model import Profile
from loadtests.results.formats import clean_text
from loadtests.run.fetch import fetch
from loadtests.run.target import Target

MIN_FREE_BYTES = 200 * 1024 * 1024
FILES_BESIDE_SOCKETS = 200

Fetch = Callable[[str], tuple[int, bytes]]


@dataclass(frozen=True)
class Problem:
    """One reason not to start; `kind` is the error class, hence the exit code, it stands for."""

    kind: type[LoadTestError]
    text: str


def find_problems(
    profile: Profile, target: Target, results_root: Path, *, open_files_limit: int, get: Fetch = fetch
) -> list[Problem]:
    """Every reason not to start this run, most basic first; empty when it may."""
    return [
        *_folder_problems(results_root),
        *_open_file_problems(profile, open_files_limit),
        *_target_problems(target, get),
    ]


def check(problems: list[Problem]) -> None:
    """Raises one error that lists all problems; a caller's mistake outranks a target that is not ready."""
    if not problems:
        return
    kind = UsageError if any(issubclass(p.kind, UsageError) for p in problems) else TargetError
    raise kind("not started:\n" + "\n".join(f"  - {problem.text}" for problem in problems))


def _folder_problems(results_root: Path) -> list[Problem]:
    probe = results_root / f".writable-{id(results_root):x}"
    try:
        results_root.mkdir(parents=True, exist_ok=True)
        probe.write_text("")
        probe.unlink()
        free = shutil.disk_usage(results_root).free
    except OSError as error:
        return [
            Problem(
                UsageError,
                f"results folder {results_root}: cannot be written ({error.strerror or error}); "
                "change its permissions or set RESULTS_DIR to another folder",
            )
        ]
    if free < MIN_FREE_BYTES:
        return [
            Problem(
                UsageError,
                f"results folder {results_root}: {free // 2**20} MiB free on the disk, want "
                f"{MIN_FREE_BYTES // 2**20}; make room or set RESULTS_DIR to another disk",
            )
        ]
    return []


def _open_file_problems(profile: Profile, limit: int) -> list[Problem]:
    sockets = profile.max_in_flight if profile.is_open else max(stage.users or 0 for stage in profile.stages)
    wanted = sockets + FILES_BESIDE_SOCKETS
    if limit >= wanted:
        return []
    return [
        Problem(
            UsageError,
            f"open files: this shell allows {limit}, {sockets} connections at once want {wanted}; "
            f"run `ulimit -n {wanted}` first",
        )
    ]


def _target_problems(target: Target, get: Fetch) -> list[Problem]:
    problems = []
    for service in target.stack.services:
        url = target.urls[service.name] + service.ready_path
        advice = "see `make logs`" if target.lab else f"start it, or the lab with `make up STACK={target.stack.name}`"
        try:
            status, body = get(url)
        except (OSError, ValueError) as error:
            reason = clean_text(str(getattr(error, "reason", error)))
            problems.append(Problem(TargetError, f"{service.name}: no answer from {url} ({reason}); {advice}"))
            continue
        if status != 200:
            said = clean_text(body[:200].decode(errors="replace"))
            problems.append(Problem(TargetError, f"{service.name}: {url} says {status}, want 200: {said}; {advice}"))
    return problems


def ask_identity(target: Target, get: Fetch = fetch) -> dict[str, dict[str, str] | None]:
    """What each service says of itself at its health path, as clean text; None where it does not answer JSON."""
    said: dict[str, dict[str, str] | None] = {}
    for service in target.stack.services:
        try:
            _, body = get(target.urls[service.name] + service.health_path)
            answer = json.loads(body)
            names = ("service", "version", "status")
            said[service.name] = {name: clean_text(str(answer[name])) for name in names if name in answer}
        except (OSError, ValueError, TypeError, RecursionError):
            said[service.name] = None
    return said
