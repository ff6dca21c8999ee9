"""The run folder: named safely, appended to while running, replaced whole or not at all."""

import errno
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from loadtests.errors import UsageError
from loadtests.model import Plan
from loadtests.results.events import RunEvent, build_event
from loadtests.results.histogram_log import build_line
from loadtests.results.histograms import Distribution
from loadtests.results.model import RunResult
from loadtests.results.store import RunFolder, build_run_id, load_result, safe_name
from loadtests.wire import Alarm, Ended, StageEvent, Started
from tests.unit.loadtests.results.simulation import (
    STARTED_UNIX,
    Simulation,
    build_interval,
    build_plan,
    build_request,
    build_stage,
    encode,
    run_simulation,
)

HOSTILE_NAMES = [
    "../../x", "/etc/passwd", "..", ".", "", "nul\x00byte", "x" * 300, "a/b\\c", "\u202ertl", "CON", "-rf", "a\nb",
    "\ud800", "%2e%2e%2f",
]  # fmt: skip


def test_run_id_names_time_stack_profile_and_run() -> None:
    now = datetime(2026, 11, 18, 13, 6, 40, tzinfo=UTC)
    assert build_run_id(now, "consoul", "load", "1a2b3c") == "20261118T130640Z-consoul-load-1a2b3c"


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_hostile_names_stay_inside_the_results_folder(tmp_path: Path, name: str) -> None:
    root = tmp_path / "results"
    plan = Plan.model_construct(**{**build_plan().__dict__, "run_id": name})
    folder = RunFolder.create(root, build_plan().model_copy(update={"run_id": name.replace("\ud800", "?")}))
    assert folder.path.resolve().parent == root.resolve()
    assert plan.run_id == name
    folder.append_histograms(build_interval(0, "hold", {"hold": build_stage({name: build_request([0.1])})}), 0.0)
    assert {path.parent.name for path in tmp_path.rglob("*.hlog")} == {"histograms"}
    assert all(len(path.name) < 255 for path in tmp_path.rglob("*"))


def test_different_names_never_share_a_file() -> None:
    names = ["POST /chat", "POST-chat", "POST  /chat", "post /chat", "POST /chat/", *HOSTILE_NAMES]
    assert len({safe_name(name) for name in names}) == len(names)
    assert safe_name("chat") == "chat"


def test_two_runs_in_one_second_get_two_folders(tmp_path: Path) -> None:
    folders = [RunFolder.create(tmp_path, build_plan()) for _ in range(3)]
    assert len({folder.path for folder in folders}) == 3
    assert Plan.model_validate_json(folders[2].plan_path.read_text()) == build_plan()


def test_histogram_logs_are_read_by_the_reference_reader(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    for second, values in enumerate(([0.1, 0.2], [0.3])):
        stage = build_stage({"POST /chat": build_request(values)})
        folder.append_histograms(build_interval(second, "hold", {"hold": stage}), STARTED_UNIX)
    paths = sorted((folder.path / "histograms").glob("hold--POST-chat-*--latency.hlog"))
    assert len(paths) == 1
    reader = HistogramLogReader(str(paths[0]), HdrHistogram(10, 300_000_000, 3))
    union = HdrHistogram(10, 300_000_000, 3)
    while reader.add_next_interval_histogram(union):
        pass
    reader.close()
    assert reader.get_start_time_sec() == STARTED_UNIX
    assert Distribution.of([union.encode().decode()]) == Distribution.of([encode([0.1, 0.2, 0.3])])


def test_a_line_of_a_log_says_when_how_long_and_how_slow() -> None:
    start, length, maximum, payload = build_line(3.0, 4.25, encode([0.1, 0.2])).strip().split(",")
    assert (start, length, payload) == ("3.000", "1.250", encode([0.1, 0.2]))
    assert float(maximum) == pytest.approx(200, rel=0.001)


def test_series_and_events_come_back_as_appended(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    points = run_simulation(Simulation(build_plan(time_scale=0.1))).finish()
    for point in points:
        folder.append_series(point)
    messages = (Started(0.0, 2, {}), StageEvent("hold", "begin", 1.0), Alarm(2.0, "lag", "\x1b[1mslow"))
    for message in (*messages, Ended(3.0, "completed")):
        event = build_event(message)
        assert event is not None
        folder.append_event(event)
    assert folder.load_series() == points
    assert [(e.t, e.kind, e.name, e.detail) for e in folder.load_events()] == [
        (0.0, "run", "started", "2 generating processes"),
        (1.0, "stage", "hold", "begin"),
        (2.0, "alarm", "lag", "slow"),
        (3.0, "run", "ended", "completed"),
    ]
    assert build_event(build_interval(0, None, {})) is None


def test_a_last_line_cut_by_a_kill_is_left_out(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    folder.append_event(RunEvent(1.0, "run", "started", ""))
    with (folder.path / "events.jsonl").open("ab") as file:
        file.write(b'{"t":2.0,"ki')
    assert len(folder.load_events()) == 1


def test_a_damaged_line_in_the_middle_is_said(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    (folder.path / "series.jsonl").write_bytes(b"garbage\n")
    with pytest.raises(UsageError, match=r"series\.jsonl"):
        folder.load_series()


def test_a_damaged_environment_is_said(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    assert folder.load_environment() is None
    (folder.path / "environment.json").write_text("{")
    with pytest.raises(UsageError, match=r"environment\.json: not JSON"):
        folder.load_environment()


def test_write_replaces_whole_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    folder.write_text("summary.md", "one")
    folder.write_json("environment.json", {"before": 1})
    folder.write_text("summary.md", "two")
    assert (folder.path / "summary.md").read_text() == "two"
    assert folder.load_environment() == {"before": 1}
    assert sorted(path.name for path in folder.path.iterdir()) == [
        "environment.json", "histograms", "plan.json", "summary.md",
    ]  # fmt: skip


def test_a_file_name_with_a_path_is_refused(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    with pytest.raises(ValueError, match="has no path"):
        folder.write_text("../summary.md", "")


def test_a_full_disk_is_a_usage_error_and_keeps_the_older_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    folder.write_text("run.json", "older")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("loadtests.results.store.os.fsync", full)
    with pytest.raises(UsageError, match=r"\(No space left on device\); free space"):
        folder.write_text("run.json", "newer")
    assert (folder.path / "run.json").read_text() == "older"


def test_a_results_folder_that_is_a_file_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("")
    with pytest.raises(UsageError, match="RESULTS_DIR=FOLDER"):
        RunFolder.create(tmp_path / "results", build_plan())


def test_result_is_loaded_from_its_folder_or_file(tmp_path: Path, result: RunResult) -> None:
    folder = RunFolder.create(tmp_path, build_plan())
    folder.write_text("run.json", result.to_json())
    assert load_result(folder.path) == load_result(folder.path / "run.json") == result
    with pytest.raises(UsageError, match="no result to read"):
        load_result(tmp_path / "nowhere")
