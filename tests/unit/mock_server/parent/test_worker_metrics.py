"""What a worker counts is what the library would have written, file for file."""

import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, values
from prometheus_client.multiprocess import MultiProcessCollector

from mock_server.parent.worker import build_value_class


def test_every_kind_of_metric_reads_back_with_its_sum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
    registry = CollectorRegistry()
    for worker in (os.getpid(), os.getpid() + 1):
        monkeypatch.setattr(values, "ValueClass", build_value_class(worker))
        own = CollectorRegistry()
        counter = Counter("c", "c", ["a"], registry=own)
        gauge = Gauge("g", "g", registry=own, multiprocess_mode="livesum")
        histogram = Histogram("h", "h", buckets=(1.0, 2.0), registry=own)
        # More labels than the file at first has room for: it is mapped anew while it is counted in.
        for number in range(1500):
            counter.labels(str(number)).inc(number)
            counter.labels("0").inc()
        gauge.inc(5)
        gauge.dec(2)
        histogram.observe(1.5)
    MultiProcessCollector(registry, str(tmp_path))  # type: ignore[no-untyped-call]
    assert registry.get_sample_value("c_total", {"a": "0"}) == 3000
    assert registry.get_sample_value("c_total", {"a": "1499"}) == 2998
    assert registry.get_sample_value("g") == 6
    assert registry.get_sample_value("h_sum") == 3
    assert registry.get_sample_value("h_bucket", {"le": "2.0"}) == 2
