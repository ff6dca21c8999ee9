"""Probes of what runs on a host: interpreter, packages, servers, and the state of the project's own source."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .host import AbsentError, Host
from .probe import HOST, IDENTITY, SUBJECT, Probe
from .scrub import scrub_settings

if TYPE_CHECKING:
    from .host import Json

_VERSION = re.compile(r"\d+\.\d+(?:\.\d+)?")
_UNTRACKED_LIMIT_BYTES = 16 * 1024 * 1024


def read_packages(host: Host) -> Json:
    """Version of every installed Python package."""
    return dict(host.packages())


def package_version(name: str) -> Callable[[Host], Json]:
    """A reader of the version of one Python package."""

    def read(host: Host) -> Json:
        version = host.packages().get(name)
        if version is None:
            raise AbsentError(f"the Python package {name} is not installed for this interpreter")
        return version

    return read


def program_version(*names: str) -> Callable[[Host], Json]:
    """A reader of the version of the first of these programs that is there, as `<name> <version>`."""

    def read(host: Host) -> Json:
        reasons = []
        for name in names:
            try:
                said = host.output(name, "--version")
            except AbsentError as absent:
                reasons.append(str(absent))
                continue
            match = _VERSION.search(said)
            if match is None:
                raise AbsentError(f"{name} --version tells no version: {said[:60]!r}")
            return f"{name} {match.group(0)}"
        raise AbsentError("; ".join(reasons))

    return read


def _git(host: Host, *arguments: str) -> bytes:
    if host.repository is None:
        raise AbsentError("no repository was named")
    # Only looks: a lock on the index would disturb whoever works in the checkout.
    return host.run(("git", "--no-optional-locks", "-C", str(host.repository), *arguments))


def read_sha(host: Host) -> Json:
    """Commit that is checked out."""
    return _git(host, "rev-parse", "HEAD").decode().strip()


def read_is_dirty(host: Host) -> Json:
    """True when a tracked file differs from the commit or an unignored file is untracked."""
    return bool(_git(host, "status", "--porcelain").strip())


def read_difference_digest(host: Host) -> Json:
    """SHA-256 over what differs from the commit, untracked files included; `clean` when nothing does."""
    changed = _git(host, "diff", "--binary", "--no-ext-diff", "HEAD")
    listing = _git(host, "ls-files", "--others", "--exclude-standard", "-z")
    untracked = [name for name in listing.decode("utf-8", "surrogateescape").split("\0") if name]
    if not changed and not untracked:
        return "clean"
    digest = hashlib.sha256(changed)
    left_bytes = _UNTRACKED_LIMIT_BYTES
    for name in sorted(untracked):
        content = _content(Path(str(host.repository)) / name, left_bytes)
        left_bytes -= len(content)
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0" + content + b"\0")
    return digest.hexdigest()


def _content(path: Path, limit_bytes: int) -> bytes:
    """The file's bytes while the limit lasts, then only its size: a stray dump must not slow the snapshot."""
    try:
        size = path.stat().st_size
        return path.read_bytes() if size <= limit_bytes else str(size).encode()
    except OSError:
        return b""


def read_target_settings(host: Host) -> Json:
    """Settings of the target as given, secrets masked."""
    if host.target_settings is None:
        raise AbsentError("the target's settings were not given")
    return scrub_settings(host.target_settings)


SOFTWARE_PROBES = (
    Probe("software.python", IDENTITY, lambda host: host.python),
    Probe("software.locust", HOST, package_version("locust")),
    Probe("software.packages", HOST, read_packages),
)

PROGRAM_PROBES = (
    Probe("software.redis_server", HOST, program_version("redis-server", "valkey-server")),
    Probe("software.prometheus", HOST, program_version("prometheus")),
)

SOURCE_PROBES = (
    Probe("source.git_sha", SUBJECT, read_sha),
    Probe("source.is_dirty", SUBJECT, read_is_dirty),
    Probe("source.difference_digest", SUBJECT, read_difference_digest),
    Probe("target.settings", SUBJECT, read_target_settings),
)
