"""What the control plane reads and sets."""

from typing import Any

import pytest
from pydantic import ValidationError

from mock_server.core.clock import Clock
from mock_server.core.latency import PROFILES
from mock_server.core.randomness import create_stream
from mock_server.environment import load_settings
from mock_server.services.consoul.pool import ProviderPool
from mock_server.services.consoul.provider import ProviderConfig, SimulatedProvider, Surroundings
from mock_server.services.consoul.providers import (
    ProviderChange,
    Providers,
    apply_change,
    initial_config,
    render_config,
)
from tests.unit.mock_server.virtual_time import read_clock, sleep_until

CUSTOM = {"total_s": [0.1, 0.4], "first_token_share": 0.2, "tokens": [20, 60]}


def create(name: str) -> SimulatedProvider:
    around = Surroundings(ProviderPool(1), Clock(read_clock, read_clock), sleep_until)
    return SimulatedProvider(name, INSTANT, around, create_stream(1, name), create_stream(2, name))


INSTANT = initial_config("openai", load_settings({}))


def change(config: ProviderConfig, **given: Any) -> ProviderConfig:
    return apply_change(ProviderChange.model_validate(given), config)


def test_the_settings_say_what_a_provider_begins_with() -> None:
    variables = {"MOCK_PROVIDER_PROFILE": "gpt-4", "OPENAI_TIMEOUT": "7", "MOCK_PROVIDER_FAILURE_RATIO": "0.5"}
    settings = load_settings(variables)
    openai, anthropic = initial_config("openai", settings), initial_config("anthropic", settings)
    assert (openai.latency, openai.profile, openai.failure_ratio) == (PROFILES["gpt-4"], "gpt-4", 0.5)
    assert (openai.timeout_s, anthropic.timeout_s) == (7, 120)


def test_a_change_sets_what_it_names_and_the_rest_stays() -> None:
    said = {"failure_ratio": 0.5, "failure_kind": "truncated", "capacity": 80.0}
    assert render_config(change(INSTANT, **said)) == render_config(INSTANT) | said


def test_a_profile_brings_its_latency() -> None:
    assert change(INSTANT, profile="gpt-4").latency == PROFILES["gpt-4"]


def test_custom_profiles_come_as_json_objects_and_are_remembered() -> None:
    custom = change(INSTANT, profile="custom", custom=CUSTOM)
    assert render_config(custom)["latency"] == CUSTOM
    back = change(custom, profile="instant")
    assert render_config(back)["latency"]["total_s"] == [0, 0]
    assert change(back, profile="custom") == custom


def test_a_custom_profile_that_nobody_gave_is_refused() -> None:
    with pytest.raises(ValueError, match="needs custom"):
        change(INSTANT, profile="custom", failure_ratio=1.0)


def test_providers_take_over_what_they_are_given_each_its_own() -> None:
    names = ("openai", "anthropic")
    simulated = {name: create(name) for name in names}
    slow = change(INSTANT, profile="gpt-4", capacity=10)
    Providers(simulated).replace({"openai": slow, "anthropic": INSTANT})
    assert {name: simulated[name].config for name in names} == {"openai": slow, "anthropic": INSTANT}


@pytest.mark.parametrize(
    "given",
    [
        {"failure_ratio": 1.1},
        {"failure_ratio": float("nan")},
        {"failure_kind": "explode"},
        {"profile": "gpt-5"},
        {"capacity": -1},
        {"capacity": float("inf")},
        {"batch_size": 0},
        {"custom": [1]},
        {"custom": {"total_s": [1, 0], "first_token_share": 0, "tokens": [1, 1]}},
        {"failure_rate": 0.1},
    ],
)
def test_what_cannot_be_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ProviderChange.model_validate(given)
