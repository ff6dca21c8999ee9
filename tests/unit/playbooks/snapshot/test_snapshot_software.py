"""Versions, git state and target settings on a made-up host."""

from pathlib import Path

import pytest

from playbooks.module_utils.snapshot.host import AbsentError
from playbooks.module_utils.snapshot.software import (
    package_version,
    program_version,
    read_difference_digest,
    read_is_dirty,
    read_sha,
    read_target_settings,
)
from tests.unit.playbooks.snapshot.conftest import MakeHost

REPOSITORY = Path("/project")


def test_the_first_program_that_is_there_is_named_with_its_version(make_host: MakeHost) -> None:
    host = make_host(commands={"valkey-server --version": "Valkey server v=9.0.1 sha=0000:0 malloc=jemalloc"})

    assert program_version("redis-server", "valkey-server")(host) == "valkey-server 9.0.1"


def test_no_program_names_every_one_looked_for(make_host: MakeHost) -> None:
    with pytest.raises(AbsentError, match="redis-server is not on PATH; valkey-server is not on PATH"):
        program_version("redis-server", "valkey-server")(make_host())


def test_output_without_a_version_is_absent_not_empty(make_host: MakeHost) -> None:
    with pytest.raises(AbsentError, match="tells no version"):
        program_version("prometheus")(make_host(commands={"prometheus --version": "development build"}))


def test_package_versions(make_host: MakeHost) -> None:
    host = make_host(packages=lambda: {"locust": "2.47.0"})

    assert package_version("locust")(host) == "2.47.0"
    with pytest.raises(AbsentError, match="redis is not installed"):
        package_version("redis")(host)


def test_git_state(make_host: MakeHost) -> None:
    host = make_host(
        commands={
            "git --no-optional-locks -C /project rev-parse HEAD": "abc123\n",
            "git --no-optional-locks -C /project status --porcelain": " M file\n",
        },
        repository=REPOSITORY,
    )

    assert read_sha(host) == "abc123"
    assert read_is_dirty(host) is True


def test_without_a_repository_git_is_not_asked(make_host: MakeHost) -> None:
    with pytest.raises(AbsentError, match="no repository was named"):
        read_sha(make_host())


def test_digest_tells_changes_and_untracked_content_apart(make_host: MakeHost, tmp_path: Path) -> None:
    def digest(changed: str, content: str | None) -> object:
        commands = {
            f"git --no-optional-locks -C {tmp_path} diff --binary --no-ext-diff HEAD": changed,
            f"git --no-optional-locks -C {tmp_path} ls-files --others --exclude-standard -z": "new.txt\0"
            if content is not None
            else "",
        }
        if content is not None:
            (tmp_path / "new.txt").write_text(content)
        return read_difference_digest(make_host(commands=commands, repository=tmp_path))

    assert digest("", None) == "clean"
    digests = [digest("+a", None), digest("+b", None), digest("+a", "x"), digest("+a", "y"), digest("", "y")]
    assert len(set(digests)) == 5
    assert digest("+a", "x") == digests[2]


def test_target_settings_are_masked(make_host: MakeHost) -> None:
    host = make_host(target_settings={"CONSOUL_API_KEYS": "k", "CONSOUL_PORT": 8000})

    assert read_target_settings(host) == {"CONSOUL_API_KEYS": "***", "CONSOUL_PORT": 8000}
