import dataclasses
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest

from mock_server.control import worker as control_worker
from mock_server.control.wire import (
    ClearLedger,
    Command,
    Configure,
    Confirmed,
    Describe,
    Description,
    LedgerPage,
    ReadLedger,
    ResetBreakers,
)
from mock_server.control.worker import Commands, Parts
from mock_server.core.breaker import BreakerConfig, BreakerState, CircuitBreaker, Permit
from mock_server.core.latency import PROFILES
from mock_server.core.ledger import Entry, Ledger, Runs
from mock_server.core.models import PROVIDERS
from mock_server.environment import load_settings
from mock_server.services.consoul.connections import Connections
from mock_server.services.consoul.provider import ProviderConfig
from mock_server.services.consoul.providers import Providers, initial_config
from tests.unit.mock_server.conftest import FakeClock


class StillProvider:
    """A provider's settings, without a provider: what is set is what is read."""

    def __init__(self, config: ProviderConfig):
        self.config = config
        self.times_set = 0

    def configure(self, config: ProviderConfig) -> None:
        self.config = config
        self.times_set += 1


@dataclass
class Rig:
    clock: FakeClock
    providers: dict[str, StillProvider]
    breaker: CircuitBreaker
    ledger: Ledger
    connections: Connections
    commands: Commands

    async def read(self, after: int = 0, limit: int = 100, **wanted: str) -> tuple[list[int], LedgerPage]:
        page = await self.commands.carry_out(ReadLedger(after, limit, **wanted))
        assert isinstance(page, LedgerPage)
        return [msgspec.json.decode(raw)["number"] for raw in page.entries], page


def build_config(name: str, **variables: str) -> ProviderConfig:
    return initial_config(name, load_settings(variables))


@pytest.fixture
def rig(fake_clock: FakeClock) -> Rig:
    providers = {name: StillProvider(build_config(name)) for name in PROVIDERS}
    breaker = CircuitBreaker(BreakerConfig(failure_threshold=1), fake_clock.read)
    ledger, connections = Ledger(1000), Connections(2, 1)
    parts = Parts(Providers(providers), {"openai": breaker}, ledger, connections)  # type: ignore[arg-type]
    return Rig(fake_clock, providers, breaker, ledger, connections, Commands(parts, 3, fake_clock.read))


def record(ledger: Ledger, count: int, transport: str = "http") -> None:
    for _ in range(count):
        ledger.record(Entry(f"r{ledger.last}", transport, "openai", "gpt-4", 1.0, 0.0, 0.0, 2))


async def test_the_newest_revision_stays_whatever_comes_late(rig: Rig) -> None:
    slow = {name: build_config(name, MOCK_PROVIDER_PROFILE="gpt-4") for name in PROVIDERS}
    cached = {name: build_config(name, MOCK_PROVIDER_PROFILE="cached") for name in PROVIDERS}
    assert await rig.commands.carry_out(Configure(2, slow)) == Confirmed(3, 2)
    assert await rig.commands.carry_out(Configure(1, cached)) == Confirmed(3, 2)
    assert {provider.config.latency for provider in rig.providers.values()} == {PROFILES["gpt-4"]}


async def test_a_provider_whose_settings_stay_is_left_alone(rig: Rig) -> None:
    configs = {name: build_config(name) for name in PROVIDERS}
    configs["ollama"] = build_config("ollama", MOCK_PROVIDER_FAILURE_RATIO="1")
    await rig.commands.carry_out(Configure(1, configs))
    assert {name: provider.times_set for name, provider in rig.providers.items()} == {
        "openai": 0,
        "anthropic": 0,
        "ollama": 1,
    }


async def test_a_command_survives_its_way_as_text(rig: Rig) -> None:
    custom = '{"total_s": [0.1, 0.4], "first_token_share": 0.2, "tokens": [20, 60]}'
    variables = {"MOCK_PROVIDER_PROFILE": "custom", "MOCK_PROVIDER_CUSTOM": custom, "MOCK_PROVIDER_CAPACITY": "12.5"}
    commands: list[Command] = [
        Configure(1, {name: build_config(name, **variables) for name in PROVIDERS}),
        ReadLedger(5, 10, "a", "sse"),
        ClearLedger(),
        ResetBreakers(),
        Describe(),
    ]
    for command in commands:
        assert msgspec.json.decode(msgspec.json.encode(command), type=Command) == command


async def test_the_ledger_is_read_in_pages_without_a_gap_or_a_double(rig: Rig) -> None:
    record(rig.ledger, 700)
    found: list[int] = []
    after = 0
    while after < rig.ledger.last:
        numbers, page = await rig.read(after, 300)
        found += numbers
        after = page.read_to
    assert found == list(range(1, 701))


async def test_what_is_not_wanted_is_left_out_and_counts_as_read(rig: Rig) -> None:
    record(rig.ledger, 3)
    record(rig.ledger, 2, "sse")
    assert await numbers_of(rig, transport="sse") == ([4, 5], 5)
    assert await numbers_of(rig, request_id="r1") == ([2], 5)
    assert await numbers_of(rig, request_id="r1", transport="sse") == ([], 5)
    assert await numbers_of(rig, limit=1, transport="sse") == ([4], 4)
    assert await numbers_of(rig, limit=2, transport="sse") == ([4, 5], 5)
    assert await numbers_of(rig, after=9) == ([], 9)


async def numbers_of(rig: Rig, **wanted: Any) -> tuple[list[int], int]:
    numbers, page = await rig.read(**wanted)
    return numbers, page.read_to


async def test_a_page_is_bounded_in_bytes_too(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_worker, "PAGE_LIMIT_BYTES", 1000)
    record(rig.ledger, 100)
    numbers, page = await rig.read()
    assert 1 < len(numbers) < 10
    assert page.read_to == numbers[-1]
    assert (page.first, page.last, page.capacity) == (1, 100, 1000)


async def test_an_entry_says_everything(rig: Rig) -> None:
    entry = Entry(
        "r", "sse", "openai", "gpt-4", 1.5, 0.25, 0.01, 7, "provider-error", 0.1, Runs([(0.25, 1)]), "failed"
    )
    rig.ledger.record(entry)
    _, page = await rig.read()
    said = msgspec.json.decode(page.entries[0])["entry"]
    assert said == dataclasses.asdict(entry) | {"sent_s": [[0.25, 1]]}


async def test_clearing_the_ledger_and_resetting_breakers(rig: Rig) -> None:
    record(rig.ledger, 2)
    permit = rig.breaker.acquire()
    assert isinstance(permit, Permit)
    rig.breaker.fail(permit)
    assert await rig.commands.carry_out(ClearLedger()) == Confirmed(3, 0)
    assert await rig.commands.carry_out(ResetBreakers()) == Confirmed(3, 0)
    assert (rig.ledger.newer(), rig.ledger.last, rig.breaker.state) == ([], 2, BreakerState.CLOSED)


async def test_a_description_is_of_this_worker_now(rig: Rig) -> None:
    record(rig.ledger, 2)
    rig.clock.now_s += 12.5
    description = await rig.commands.carry_out(Describe())
    assert isinstance(description, Description)
    assert description == Description(3, 12.5, description.tasks, 0, {"openai": "closed"}, 3, 1, 2)
    assert 0 <= description.tasks < 10
