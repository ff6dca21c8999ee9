"""What made a result: versions of the tools and the state of the checkout."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path

TOOLS = ("locust", "gevent", "hdrhistogram", "msgspec", "numpy", "pydantic")


def read_versions() -> dict[str, str]:
    """Versions of this lab, Python and the packages that touch a measurement; a missing one is left out."""
    versions = {"python": platform.python_version()}
    for tool in TOOLS:
        try:
            versions[tool] = importlib.metadata.version(tool)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def read_git(root: Path) -> dict[str, str | bool | None]:
    """`sha` and `dirty` of the checkout at `root`; both None outside a checkout or without git."""
    sha = _git(root, "rev-parse", "HEAD")
    changes = _git(root, "status", "--porcelain", "--untracked-files=no")
    return {"sha": sha, "dirty": None if changes is None or sha is None else bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
