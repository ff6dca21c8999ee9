"""Runs against a real lab end in the verdict and the exit code of their cause, with every request accounted for."""

import csv
import json
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadtests.results.store import load_result

from .conftest import ROOT, Lab, Outcome, Run, free_port, is_listening, wait_until

StartRun = Callable[..., Run]
Finish = Callable[..., Outcome]

FILES = {
    *("run.json", "environment.json", "plan.json", "series.jsonl", "events.jsonl", "stats.csv", "stats_history.csv"),
    *("failures.csv", "report.html", "summary.md", "junit.xml", "generator.log", "histograms"),
}


def _total(result: dict[str, Any]) -> dict[str, Any]:
    ledger: list[dict[str, Any]] = result["ledger"]
    return next(row for row in ledger if row["stage"] is None)


def test_sound_closed_run_passes_and_the_mock_counted_the_same(finish_soundly: Finish) -> None:
    outcome = finish_soundly()

    assert outcome.code == 0, outcome.out + outcome.err
    total = _total(outcome.result)
    assert total["is_balanced"]
    assert total["finished"] == total["started"] > 100
    assert outcome.result["reconciliation"]["counted"] == total["finished"]
    assert outcome.result["reconciliation"]["unexplained"] == 0
    assert "PASS" in outcome.out


def test_run_folder_holds_every_file_and_they_agree(finish_soundly: Finish) -> None:
    outcome = finish_soundly()

    assert {path.name for path in outcome.folder.iterdir()} == FILES
    finished = _total(outcome.result)["finished"]
    rows = list(csv.DictReader((outcome.folder / "stats.csv").read_text().splitlines()))
    assert int(rows[-1]["Request Count"]) == finished
    seconds = [json.loads(line) for line in (outcome.folder / "series.jsonl").read_text().splitlines()]
    assert sum(second["finished"] for second in seconds) == finished
    assert ET.parse(outcome.folder / "junit.xml").getroot().tag in {"testsuite", "testsuites"}
    environment = json.loads((outcome.folder / "environment.json").read_text())
    assert set(environment) == {"before", "after", "difference"}
    assert load_result(outcome.folder).verdict.name == "pass"


def test_sound_open_run_keeps_its_rate_and_passes(finish_soundly: Finish) -> None:
    stages = [{"name": "hold", "duration": "4s", "rate": "200/s"}]
    outcome = finish_soundly({"stages": stages, "thresholds": ["p95 < 1s", "dropped == 0", "failed == 0"]})

    assert outcome.code == 0, outcome.out + outcome.err
    total = _total(outcome.result)
    assert total["scheduled"] == outcome.result["reconciliation"]["counted"]
    assert 600 < total["scheduled"] < 1000


def test_time_scale_shortens_and_says_so(finish_soundly: Finish) -> None:
    stages = [{"name": "hold", "duration": "20s", "users": 5}]
    outcome = finish_soundly({"stages": stages}, TIME_SCALE="0.1")

    assert outcome.code == 0, outcome.out + outcome.err
    assert outcome.result["duration_s"] < 5
    assert outcome.result["time_scale"] == 0.1
    assert "never comparable" in outcome.out
    assert "TIME_SCALE=0.1" in (outcome.folder / "summary.md").read_text()


def test_too_few_samples_are_insufficient_and_never_a_pass(finish_soundly: Finish) -> None:
    outcome = finish_soundly({"think_time": "1s"})

    assert outcome.code == 6
    assert outcome.result["verdict"]["name"] == "insufficient"


def test_broken_threshold_fails(finish_soundly: Finish) -> None:
    outcome = finish_soundly({"thresholds": ["p50 < 10ms", "p95 < 1ms", "max < 1ms"]})

    assert outcome.code == 99
    assert outcome.result["verdict"]["name"] == "fail"


def test_frozen_mock_does_not_pass(start_run: StartRun, lab: Lab) -> None:
    stages = [{"name": "hold", "duration": "6s", "rate": "200/s"}]
    thresholds = ["p99 < 500ms", "error_ratio < 1%"]
    run = start_run({"stages": stages, "timeout": "1s", "max_in_flight": 50, "thresholds": thresholds})
    run.wait_for_load()
    frozen = lab.workers()
    for process in frozen:
        process.send_signal(signal.SIGSTOP)
    try:
        wait_until(lambda: _has_failed(run.folder()), "requests timed out at the frozen mock")
    finally:
        for process in frozen:
            process.send_signal(signal.SIGCONT)
    outcome = run.finish()

    assert outcome.code == 99, outcome.out + outcome.err
    total = _total(outcome.result)
    assert total["is_balanced"]
    assert total["dropped"] > 0
    assert {row["kind"] for row in outcome.result["failures"]} <= {"timeout", "connection"}
    # The requests that got no answer are in the percentiles: a frozen target must not look fast.
    assert [row["outcome"] for row in outcome.result["thresholds"]] == ["fail", "fail"]


def _has_failed(folder: Path) -> bool:
    lines = (folder / "series.jsonl").read_text().splitlines()
    return any(json.loads(line)["failed"] for line in lines)


def test_saturated_generator_is_invalid_and_not_a_statement_about_the_target(start_run: StartRun) -> None:
    stages = [{"name": "hold", "duration": "3s", "rate": "60000/s"}]
    outcome = start_run({"stages": stages, "thresholds": ["error_ratio < 50%"]}).finish()

    assert outcome.code == 5, outcome.out + outcome.err
    assert outcome.result["verdict"]["name"] == "invalid"
    assert "generator" in outcome.result["verdict"]["why"]
    assert _total(outcome.result)["is_balanced"]


def test_ctrl_c_in_mid_run_leaves_a_valid_interrupted_result(start_run: StartRun) -> None:
    run = start_run({"stages": [{"name": "hold", "duration": "60s", "users": 5}]})
    run.wait_for_load()
    run.interrupt()
    outcome = run.finish()

    assert outcome.code == 105, outcome.out + outcome.err
    assert outcome.result["verdict"]["name"] == "interrupted"
    assert _total(outcome.result)["is_balanced"]
    assert load_result(outcome.folder).duration_s < 30


def test_generator_killed_in_mid_run_is_invalid(start_run: StartRun) -> None:
    run = start_run({"stages": [{"name": "hold", "duration": "60s", "users": 5}]})
    run.wait_for_load()
    run.generator().kill()
    outcome = run.finish()

    assert outcome.code == 5, outcome.out + outcome.err
    assert "died" in outcome.result["verdict"]["why"]


def test_killed_parent_takes_its_generator_along(start_run: StartRun) -> None:
    run = start_run({"stages": [{"name": "hold", "duration": "60s", "users": 5}]})
    run.wait_for_load()
    generator = run.generator()
    run.process.kill()
    run.process.communicate()

    wait_until(lambda: not generator.is_running() or generator.status() == "zombie", "the generator to end")


def test_killed_parent_takes_an_idle_web_ui_along(lab: Lab, tmp_path: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "loadtests", "run", "--ui", "consoul/smoke"]
    environ = lab.environ | {"RESULTS_DIR": str(tmp_path / "results"), "LOCUST_UI_PORT": str(port)}
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stdout=subprocess.DEVNULL)
    run = Run(process, tmp_path / "results")
    try:
        wait_until(lambda: is_listening(port), "the web UI")
        generator = run.generator()
    finally:
        process.kill()
        process.wait()

    wait_until(lambda: not generator.is_running() or generator.status() == "zombie", "the web UI to end")
    assert not is_listening(port)


@pytest.mark.parametrize("variable", ["API_KEY", "REDIS_PASSWORD"])
def test_secrets_of_the_caller_reach_no_file_of_the_run(start_run: StartRun, variable: str) -> None:
    canary = "canary-5f2d8e71"
    outcome = start_run(None, **{variable: canary}).finish()

    written = [path for path in outcome.folder.rglob("*") if path.is_file() and canary in path.read_text("utf-8")]
    assert written == []
    assert canary not in outcome.out + outcome.err
