"""The environment of a call is read once; a bad value names its variable."""

from pathlib import Path

import pytest

from loadtests.errors import UsageError
from loadtests.run.settings import read_settings

ROOT = Path("/lab")


def test_defaults_stand_without_any_variable() -> None:
    settings = read_settings({}, ROOT, {})

    assert settings.time_scale == 1.0
    assert settings.results_root == ROOT / "results"
    assert settings.ui_port == 8089
    assert settings.overrides == {}


def test_command_line_wins_over_the_environment() -> None:
    settings = read_settings({"USERS": "5", "DURATION": "10s"}, ROOT, {"users": "7"})

    assert settings.overrides == {"users": "7", "duration": "10s"}


@pytest.mark.parametrize("text", ["0", "-1", "2", "fast", "nan"])
def test_bad_time_scale_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match=f"TIME_SCALE: got '{text}'"):
        read_settings({"TIME_SCALE": text}, ROOT, {})


def test_every_bad_value_is_named_at_once() -> None:
    with pytest.raises(UsageError, match="(?s)TIME_SCALE.*LOCUST_UI_PORT"):
        read_settings({"TIME_SCALE": "x", "LOCUST_UI_PORT": "70000"}, ROOT, {})


def test_api_key_is_not_shown() -> None:
    assert "canary" not in repr(read_settings({"API_KEY": "canary"}, ROOT, {}))
