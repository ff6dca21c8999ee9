"""A host made of files in a temporary folder and commands in a table."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from playbooks.module_utils.snapshot.host import AbsentError, Host

MakeHost = Callable[..., Host]


@pytest.fixture
def make_host(tmp_path: Path) -> MakeHost:
    """Builds a host from files by absolute path and outputs by command line; what is not given is absent."""

    def make(files: Mapping[str, str] | None = None, commands: Mapping[str, str] | None = None, **extra: Any) -> Host:
        for name, content in (files or {}).items():
            place = tmp_path / name.lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(content)

        def run(command: tuple[str, ...]) -> bytes:
            line = " ".join(command)
            if line not in (commands or {}):
                raise AbsentError(f"{command[0]} is not on PATH")
            return (commands or {})[line].encode()

        return Host(root=tmp_path, run=run, clock=lambda: 1_700_000_000.0, **extra)

    return make
