"""What the control plane reads and sets: for one provider or all, wholly or not at all."""

from typing import Any

import pytest
from pydantic import ValidationError

from mock_server.core.clock import Clock
from mock_server.core.latency import PROFILES
from mock_server.core.randomness import create_stream
from mock_server.services.consoul.pool import ProviderPool
from mock_server.services.consoul.provider import ProviderConfig, SimulatedProvider, Surroundings
from mock_server.services.consoul.providers import ProviderChange, Providers
from tests.unit.mock_server.virtual_time import read_clock, sleep_until

CUSTOM = {"total_s": [0.1, 0.4], "first_token_share": 0.2, "tokens": [20, 60]}


def create_providers() -> Providers:
    def create(name: str) -> SimulatedProvider:
        around = Surroundings(ProviderPool(1), Clock(read_clock, read_clock), sleep_until)
        config = ProviderConfig(PROFILES["instant"], 120.0, profile="instant")
        return SimulatedProvider(name, config, around, create_stream(1, name), create_stream(2, name))

    return Providers({name: create(name) for name in ("openai", "anthropic")})


def test_one_provider_changes_and_the_rest_stays() -> None:
    providers = create_providers()
    before = providers.read()
    providers.configure(ProviderChange(failure_ratio=0.5, failure_kind="truncated", capacity=80.0), "anthropic")
    after = providers.read()
    assert after["openai"] == before["openai"]
    assert after["anthropic"] == before["anthropic"] | {
        "failure_ratio": 0.5,
        "failure_kind": "truncated",
        "capacity": 80.0,
    }


def test_a_profile_brings_its_latency_to_all() -> None:
    providers = create_providers()
    providers.configure(ProviderChange(profile="gpt-4"))
    assert {setting["profile"] for setting in providers.read().values()} == {"gpt-4"}
    assert {tuple(setting["latency"]["total_s"]) for setting in providers.read().values()} == {(2.0, 10.0)}


def test_custom_profiles_come_as_json_objects_and_are_remembered() -> None:
    providers = create_providers()
    providers.configure(ProviderChange.model_validate({"profile": "custom", "custom": CUSTOM}))
    assert providers.read()["openai"]["latency"] == CUSTOM
    providers.configure(ProviderChange(profile="instant"))
    assert providers.read()["openai"]["latency"]["total_s"] == [0, 0]
    providers.configure(ProviderChange(profile="custom"))
    assert providers.read()["openai"]["latency"] == CUSTOM


def test_what_fails_for_one_changes_none() -> None:
    providers = create_providers()
    providers.configure(ProviderChange.model_validate({"custom": CUSTOM}), "openai")
    before = providers.read()
    with pytest.raises(ValueError, match="needs custom"):
        providers.configure(ProviderChange(profile="custom", failure_ratio=1.0))
    assert providers.read() == before
    with pytest.raises(ValueError, match="must be one of openai, anthropic"):
        providers.configure(ProviderChange(failure_ratio=1.0), "opnai")


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
