"""A clock that moves when told, and mocks wired in memory."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from mock_server.app import create_app
from mock_server.core.clock import Clock
from mock_server.environment import load_settings


@dataclass
class FakeClock:
    """Both clocks of a mock, moved by hand; `slept_s` is what the provider waited."""

    now_s: float = 1_000.0
    slept_s: list[float] = field(default_factory=list)

    def read(self) -> float:
        return self.now_s

    async def sleep_until(self, deadline_s: float) -> None:
        if deadline_s > self.now_s:
            self.slept_s.append(deadline_s - self.now_s)
            self.now_s = deadline_s

    def as_clock(self) -> Clock:
        return Clock(self.read, lambda: 1_700_000_000.0 + self.now_s)


@dataclass
class RunningMock:
    """A mock in this process, with what a test needs to look into it."""

    client: TestClient
    registry: CollectorRegistry
    clock: FakeClock

    def sample(self, name: str, **labels: str) -> float:
        value = self.registry.get_sample_value(name, labels)
        assert value is not None, f"no sample {name}{labels}"
        return value


StartMock = Callable[..., RunningMock]


@pytest.fixture
def fake_clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def start_mock(fake_clock: FakeClock) -> Iterator[StartMock]:
    """Starts a mock on memory state with the variables given."""
    with ExitStack() as stack:

        def start(**variables: str) -> RunningMock:
            registry = CollectorRegistry()
            settings = load_settings(variables)
            app = create_app("consoul", settings, fake_clock.as_clock(), registry, sleep_until=fake_clock.sleep_until)
            client = stack.enter_context(TestClient(app, raise_server_exceptions=False))
            return RunningMock(client, registry, fake_clock)

        yield start
