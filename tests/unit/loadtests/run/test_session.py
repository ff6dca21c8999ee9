"""What a run leaves behind beside its figures: how to repeat it, and the environment it ran in."""

from pathlib import Path
from typing import Any

import pytest

from loadtests.errors import HarnessError
from loadtests.run import session
from loadtests.run.settings import RunSettings, read_settings
from tests.unit.loadtests.results.simulation import build_plan


def settings(**environ: str) -> RunSettings:
    return read_settings(environ, Path("/nowhere"), {"users": "5"})


def test_a_run_is_repeated_on_the_same_target_and_without_its_secrets() -> None:
    given = settings(
        TARGET="https://chat.example.org",
        TARGETS_ALLOWED="chat.example.org",
        TARGET_METRICS="https://chat.example.org/metrics?token=canary",
        TARGET_TOKEN="canary",
        API_KEY="canary",
    )
    command = session._repeat_command("consoul/load", build_plan(time_scale=0.1), given)
    assert command == (
        "make test-load-load STACK=consoul TIME_SCALE=0.1 USERS=5 TARGET=https://chat.example.org "
        "TARGETS_ALLOWED=chat.example.org"
    )


def test_a_profile_given_as_a_file_is_repeated_by_its_file() -> None:
    command = session._repeat_command("my profiles/own.yaml", build_plan(), settings())
    assert command == "USERS=5 .venv/bin/python -m loadtests run 'my profiles/own.yaml'"


def test_a_snapshot_that_fails_after_the_load_does_not_cost_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Path) -> dict[str, Any]:
        raise HarnessError("the collector broke")

    monkeypatch.setattr(session, "take_snapshot", refuse)
    environment = session._environment_since({"fields": {}}, settings())
    assert environment["before"] == {"fields": {}}
    assert environment["after"] is None
    assert "collector broke" in environment["problem"]
