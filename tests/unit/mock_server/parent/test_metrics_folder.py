from pathlib import Path

import pytest
from prometheus_client import generate_latest

from mock_server.errors import MetricsFolderError
from mock_server.parent.exposition import MetricsFolder, create_registry


def test_folder_is_wiped_private_and_removed(tmp_path: Path) -> None:
    first = MetricsFolder("h", 9090, tmp_path)
    (first.path / "counter_1.db").write_bytes(b"old")
    again = MetricsFolder("h", 9090, tmp_path)
    assert again.path == first.path
    assert list(again.path.iterdir()) == []
    assert again.path.stat().st_mode & 0o777 == 0o700
    assert MetricsFolder("h", 9091, tmp_path).path != again.path
    assert MetricsFolder("i", 9090, tmp_path).path != again.path
    again.remove()
    assert not again.path.exists()


def test_dead_workers_lose_their_live_gauges_and_keep_their_counters(tmp_path: Path) -> None:
    folder = MetricsFolder("h", 9090, tmp_path)
    for name in ("gauge_livesum_7.db", "gauge_livesum_8.db", "counter_7.db", "histogram_7.db"):
        (folder.path / name).write_bytes(b"")
    folder.forget(7)
    assert {path.name for path in folder.path.iterdir()} == {"gauge_livesum_8.db", "counter_7.db", "histogram_7.db"}


def test_what_cannot_be_wiped_is_named_with_the_way_out(tmp_path: Path) -> None:
    path = MetricsFolder("h", 9090, tmp_path).path
    path.rmdir()
    path.symlink_to(tmp_path)
    with pytest.raises(MetricsFolderError, match=r"consoul-metrics-.*File exists.*METRICS_PORT"):
        MetricsFolder("h", 9090, tmp_path)


def test_files_that_starting_workers_have_only_opened_fail_no_scrape(tmp_path: Path) -> None:
    folder = MetricsFolder("h", 9090, tmp_path)
    for name in ("counter_7.db", "gauge_livesum_7.db"):
        (folder.path / name).write_bytes(b"")
    assert b"consoul_process" in generate_latest(create_registry(folder, dict))
