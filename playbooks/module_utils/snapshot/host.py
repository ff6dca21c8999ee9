"""What a probe may ask of a host: files under a root, commands, the clock. The only module here that touches it."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Json = str | int | float | bool | list["Json"] | dict[str, "Json"] | None
    Runner = Callable[[tuple[str, ...]], bytes]

COMMAND_TIMEOUT_S = 5.0


class AbsentError(Exception):
    """A value cannot be had on this host; the text is the reason written beside the null."""


class CommandFailedError(AbsentError):
    """A command ended with a code other than 0; `output` is what it printed all the same."""

    def __init__(self, name: str, code: int, output: str) -> None:
        self.output = output.strip()
        first = (self.output.splitlines() or ["no message"])[0]
        super().__init__(f"{name} ended with {code}: {first[:120]}")


@dataclass(frozen=True)
class Host:
    """One host as the probes see it. Every field can be replaced, so that a test needs no real host."""

    root: Path
    run: Runner
    clock: Callable[[], float]
    repository: Path | None = None
    system: str = "Linux"
    release: str | None = None
    machine: str | None = None
    python: str = ""
    ticks_per_s: float = 100.0
    packages: Callable[[], Mapping[str, str]] = dict
    target_settings: Mapping[str, Json] | None = field(default=None)

    def path(self, name: str) -> Path:
        """Place of an absolute path of the host under the root."""
        return self.root / name.lstrip("/")

    def text(self, name: str) -> str:
        """Content of a file without surrounding white space; raises AbsentError."""
        try:
            return self.path(name).read_bytes().decode("utf-8", "replace").strip().strip("\0")
        except FileNotFoundError:
            raise AbsentError(f"{name} does not exist") from None
        except OSError as error:
            raise AbsentError(f"{name} cannot be read: {error.strerror}") from None

    def number(self, name: str) -> int:
        """Content of a file that holds one integer; raises AbsentError."""
        content = self.text(name)
        try:
            return int(content)
        except ValueError:
            raise AbsentError(f"{name} holds {content[:40]!r}, not an integer") from None

    def names(self, name: str) -> list[str]:
        """Sorted names in a folder; raises AbsentError."""
        try:
            return sorted(os.listdir(self.path(name)))  # noqa: PTH208 (names, not paths)
        except OSError as error:
            raise AbsentError(f"{name} cannot be listed: {error.strerror}") from None

    def has(self, name: str) -> bool:
        """True when the path exists."""
        return self.path(name).exists()

    def output(self, *command: str) -> str:
        """Standard output of a command as text; raises AbsentError."""
        return self.run(command).decode("utf-8", "replace").strip()

    def pairs(self, name: str, separator: str = ":") -> dict[str, str]:
        """A file of `key<separator>value` lines as a mapping; the first of a doubled key wins."""
        found: dict[str, str] = {}
        for line in self.text(name).splitlines():
            key, divider, value = line.partition(separator)
            if divider:
                found.setdefault(key.strip(), value.strip())
        return found


def run_command(command: tuple[str, ...]) -> bytes:
    """Standard output of a command run for at most COMMAND_TIMEOUT_S; raises AbsentError with the cause."""
    name = command[0]
    environment = {**os.environ, "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            timeout=COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            env=environment,
            check=False,
        )
    except FileNotFoundError:
        raise AbsentError(f"{name} is not on PATH") from None
    except subprocess.TimeoutExpired:
        raise AbsentError(f"{name} took more than {COMMAND_TIMEOUT_S:g} s") from None
    except OSError as error:
        raise AbsentError(f"{name} cannot be run: {error.strerror}") from None
    if done.returncode != 0:
        raise CommandFailedError(name, done.returncode, (done.stderr or done.stdout).decode("utf-8", "replace"))
    return done.stdout or done.stderr


def installed_packages() -> dict[str, str]:
    """Version of every distribution this interpreter can import, by lower-case name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = distribution.metadata["Name"]
        if name:
            found.setdefault(name.lower(), distribution.version)
    return dict(sorted(found.items()))


def live_host(
    root: str = "/", repository: Path | None = None, target_settings: Mapping[str, Json] | None = None
) -> Host:
    """The host this process runs on, read through the real file system, commands and clock."""
    return Host(
        root=Path(root),
        run=run_command,
        clock=time.time,
        repository=repository,
        system=platform.system(),
        release=platform.release(),
        machine=platform.machine(),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        ticks_per_s=float(os.sysconf("SC_CLK_TCK")),
        packages=installed_packages,
        target_settings=target_settings,
    )
