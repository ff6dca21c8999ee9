"""What runs beside the requests of a worker."""

import asyncio
from typing import cast

import pytest
from prometheus_client import CollectorRegistry

from mock_server.core.draining import Draining
from mock_server.lifespan import Sampler, create_lifespan
from mock_server.metrics import Metrics
from mock_server.reconnection import Reconnector
from mock_server.state.sessions import SessionStore


class Broken:
    async def count(self) -> int:
        raise ValueError("nobody thought of this")


async def test_background_work_that_fails_is_told_while_the_mock_runs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics(CollectorRegistry(), [])
    sampler = Sampler(cast(SessionStore, Broken()), {}, metrics.state)
    reconnector = Reconnector([], None, None, 60.0, metrics.storage)
    async with create_lifespan(sampler, reconnector, [], 1, Draining())(None):
        for _ in range(3):
            await asyncio.sleep(0)
        (record,) = caplog.records
        assert record.getMessage().startswith("Sampler.run ended")
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ValueError)
    assert len(caplog.records) == 1, "what is cancelled at the end has not failed"
