import asyncio
import gc
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from prometheus_client import CollectorRegistry

from mock_server.log import JsonFormatter
from mock_server.metrics import RuntimeMetrics
from mock_server.runtime import Runtime
from tests.unit.mock_server.conftest import FakeClock, StartMock


@contextmanager
def collecting_by_hand() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def build(fake_clock: FakeClock, is_logged: bool) -> tuple[Runtime, CollectorRegistry]:
    registry = CollectorRegistry()
    return Runtime(RuntimeMetrics(registry), fake_clock.read, is_logged), registry


def test_a_pause_is_observed_for_its_generation(fake_clock: FakeClock) -> None:
    runtime, registry = build(fake_clock, is_logged=False)
    runtime.note_collection("stop", {"generation": 2})
    runtime.note_collection("start", {"generation": 1})
    fake_clock.now_s += 0.25
    runtime.note_collection("stop", {"generation": 1, "collected": 3, "uncollectable": 0})
    found = {
        generation: registry.get_sample_value("consoul_gc_pause_seconds_sum", {"generation": generation})
        for generation in ("0", "1", "2")
    }
    assert found == {"0": 0, "1": 0.25, "2": 0}
    assert registry.get_sample_value("consoul_gc_pause_seconds_count", {"generation": "2"}) == 0


async def test_real_collections_are_observed_while_it_runs_and_not_after(fake_clock: FakeClock) -> None:
    runtime, registry = build(fake_clock, is_logged=False)

    def count() -> float | None:
        return registry.get_sample_value("consoul_gc_pause_seconds_count", {"generation": "2"})

    with collecting_by_hand():
        before = len(gc.callbacks)
        running = asyncio.create_task(runtime.run())
        await asyncio.sleep(0)
        gc.collect()
        gc.collect()
        assert count() == 2
        assert registry.get_sample_value("consoul_event_loop_tasks") == 2
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        gc.collect()
        assert (count(), len(gc.callbacks)) == (2, before)


@pytest.mark.parametrize(("variable", "lines"), [("true", 1), ("false", 0)])
def test_pythongc_debug_logs_each_collection_as_one_line(
    start_mock: StartMock, caplog: pytest.LogCaptureFixture, variable: str, lines: int
) -> None:
    caplog.set_level(logging.INFO, logger="mock_server.runtime")
    with collecting_by_hand():
        mock = start_mock(PYTHONGC_DEBUG=variable)
        mock.client.get("/health")
        cycle: list[object] = []
        cycle.append(cycle)
        del cycle
        gc.collect()
        mock.client.get("/health")
    records = [json.loads(JsonFormatter().format(record)) for record in caplog.records]
    assert len(records) == lines
    for record in records:
        assert record["generation"] == 2
        assert record["collected"] >= 1
        assert record["uncollectable"] == 0
        assert record["duration_s"] >= 0
    assert mock.sample("consoul_gc_pause_seconds_count", generation="2") == 1
