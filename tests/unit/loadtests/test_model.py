"""The model of a profile: frozen, strict, and round."""

import pytest
from pydantic import ValidationError

from loadtests.model import Plan, Profile, Stage

BASE = {
    "name": "trial",
    "description": "for a test",
    "stack": "consoul",
    "stages": [{"name": "a", "duration": "1m", "users": 1}],
    "mix": {"chat": 1},
}


def test_short_forms_are_widened() -> None:
    profile = Profile.model_validate(BASE | {"think_time": "2s", "thresholds": ["p95 < 2s"]})
    assert (profile.think_time.min_s, profile.think_time.max_s) == (2, 2)
    assert profile.thresholds[0].check == "p95 < 2s"
    assert profile.thresholds[0].hard
    assert profile.duration_s == 60
    assert not profile.is_open


def test_defaults_are_those_documented() -> None:
    profile = Profile.model_validate(BASE)
    assert (profile.timeout_s, profile.max_in_flight, profile.arrivals) == (30, 1000, "poisson")
    assert (profile.think_time.min_s, profile.sessions, profile.reset) == (1, "per-user", True)


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"stages": []}, "at least 1 item"),
        ({"stages": [{"name": "a", "duration": "1m"}]}, "either users"),
        ({"stages": [{"name": "a", "duration": "1m", "users": 1, "rate": 1}]}, "either users"),
        ({"stages": [{"name": "a", "duration": "1m", "users": 1, "ramp": "5s", "spawn_rate": 1}]}, "not both"),
        ({"stages": [{"name": "a", "duration": "1m", "rate": 1, "spawn_rate": 1}]}, "spawn_rate is for users"),
        ({"stages": [{"name": "a", "duration": 0, "users": 1}]}, "greater than 0"),
        ({"stages": [*BASE["stages"], {"name": "b", "duration": 1, "rate": 1}]}, "not a mixture"),
        ({"mix": {}}, "at least 1 item"),
        ({"think_time": {"min": 3, "max": 1}}, "above max"),
        ({"name": "Not A Slug"}, "pattern"),
        ({"max_in_flight": 0}, "greater than or equal to 1"),
        ({"timeout": 0}, "greater than 0"),
    ],
)
def test_contradictions_are_refused(change: dict[str, object], wanted: str) -> None:
    with pytest.raises(ValidationError, match=wanted):
        Profile.model_validate(BASE | change)


def test_a_record_cannot_be_changed() -> None:
    profile = Profile.model_validate(BASE)
    with pytest.raises(ValidationError, match="frozen"):
        profile.name = "other"


@pytest.mark.parametrize("by_alias", [True, False])
def test_a_plan_survives_json(by_alias: bool) -> None:
    profile = Profile.model_validate(BASE | {"think_time": "2s", "thresholds": ["p95 < 2s"], "sessions": 7})
    plan = Plan(run_id="r", short_id="s", profile=profile, targets={"consoul": "http://127.0.0.1:1"})
    assert Plan.model_validate_json(plan.model_dump_json(by_alias=by_alias)) == plan


def test_spawn_rate_of_zero_is_refused() -> None:
    with pytest.raises(ValidationError, match="greater than 0"):
        Stage.model_validate({"name": "a", "duration": 1, "users": 1, "spawn_rate": 0})
