"""All simulated providers of a worker: what they are set to, and how that changes while calls are under way."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict

from mock_server.core.faults import FailureKind
from mock_server.core.latency import PROFILES, LatencyProfile, ProfileName
from mock_server.services.consoul.provider import ProviderConfig, SimulatedProvider
from mock_server.settings import BatchSize, Capacity, CustomProfile, Ratio, Settings


class ProviderChange(BaseModel):
    """What to set; a field left out, or None, stays as it is. `capacity` is of all workers together."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True, hide_input_in_errors=True)

    profile: ProfileName | None = None
    custom: CustomProfile = None
    failure_ratio: Ratio | None = None
    failure_kind: FailureKind | None = None
    capacity: Capacity | None = None
    batch_size: BatchSize | None = None


class Providers:
    """The providers by name; settings change for all of them, or none, between two turns of the event loop."""

    def __init__(self, providers: Mapping[str, SimulatedProvider]):
        self._providers = providers

    def replace(self, configs: Mapping[str, ProviderConfig]) -> None:
        """Sets each provider to a whole config; those that have it already notice nothing."""
        for name, config in configs.items():
            if config != self._providers[name].config:
                self._providers[name].configure(config)


def initial_config(provider: str, settings: Settings) -> ProviderConfig:
    """Returns what the settings say of one provider."""
    return ProviderConfig(
        find_latency(settings.provider_profile, settings.provider_custom),
        settings.anthropic_timeout_s if provider == "anthropic" else settings.openai_timeout_s,
        settings.provider_failure_ratio,
        settings.provider_failure_kind,
        settings.provider_capacity,
        settings.provider_batch_size,
        settings.provider_profile,
        settings.provider_custom,
    )


def find_latency(profile: ProfileName, custom: LatencyProfile | None) -> LatencyProfile:
    """Returns the latency of a profile; raises ValueError for `custom` when there is none."""
    if profile != "custom":
        return PROFILES[profile]
    if custom is None:
        raise ValueError("profile: got 'custom', which needs custom, like " + _EXAMPLE)
    return custom


_EXAMPLE = '{"total_s": [0.1, 0.4], "first_token_share": 0.2, "tokens": [20, 60]}'


def apply_change(change: ProviderChange, config: ProviderConfig) -> ProviderConfig:
    """Returns the config after the change; raises ValueError for profile `custom` when nobody gave one."""
    given = {
        name: value
        for name in ("profile", "custom", "failure_ratio", "failure_kind", "capacity", "batch_size")
        if (value := getattr(change, name)) is not None
    }
    changed = dataclasses.replace(config, **given)
    return dataclasses.replace(changed, latency=find_latency(changed.profile, changed.custom))


def render_config(config: ProviderConfig) -> dict[str, Any]:
    """Returns it as values JSON can hold."""
    return {
        "profile": config.profile,
        "latency": _render_latency(config.latency),
        "custom": None if config.custom is None else _render_latency(config.custom),
        "failure_ratio": config.failure_ratio,
        "failure_kind": config.failure_kind,
        "capacity": config.capacity,
        "batch_size": config.batch_size,
        "timeout_s": config.timeout_s,
    }


def _render_latency(latency: LatencyProfile) -> dict[str, Any]:
    return {
        "total_s": list(latency.total_s),
        "first_token_share": latency.first_token_share,
        "tokens": list(latency.tokens),
    }
