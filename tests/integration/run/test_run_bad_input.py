"""Bad input ends before any load, with its own exit code, one message that says what to do, and no half folder."""

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import Run, free_port

StartRun = Callable[..., Run]

PROFILE = """name: asked
description: What does a broken profile do?
stack: consoul
stages:
  - {name: hold, duration: 10s, users: 5}
mix: {chat: 1}
"""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (PROFILE.replace("duration", "duratoin"), ("duratoin", "did you mean", "duration")),
        (PROFILE.replace("users: 5", "users: 5, ramp: 20s"), ("ramp", "longer")),
        (PROFILE.replace("chat: 1", "chatt: 1"), ("chatt", "chat")),
        (PROFILE.replace("users: 5", "rate: -5/s"), ("rate", "-5/s")),
        (PROFILE.replace("users: 5", "users: -5"), ("users", "-5")),
        (PROFILE + "thresholds: [p95 < 2 parsecs]\n", ("p95 < 2 parsecs", "300ms")),
        (PROFILE + "  - [", ("asked.yaml",)),
        ("", ("asked.yaml",)),
    ],
)
def test_broken_profile_names_file_key_and_what_is_allowed(
    start_run: StartRun, broken: str, said: tuple[str, ...]
) -> None:
    outcome = start_run(broken).finish()

    assert outcome.code == 104, outcome.out + outcome.err
    assert "asked.yaml" in outcome.err
    for words in said:
        assert words in outcome.err
    assert "Traceback" not in outcome.err
    assert not outcome.results.exists()


def test_target_that_is_down_ends_with_its_own_code(start_run: StartRun) -> None:
    outcome = start_run(None, TARGET=f"http://127.0.0.1:{free_port()}").finish()

    assert outcome.code == 3
    assert "no answer" in outcome.err
    assert "make up" in outcome.err
    assert not list(outcome.results.glob("*-consoul-*"))


def test_foreign_target_is_refused(start_run: StartRun) -> None:
    outcome = start_run(None, TARGET="http://load.example.org").finish()

    assert outcome.code == 3
    assert "TARGETS_ALLOWED=load.example.org" in outcome.err


def test_unwritable_results_folder_is_found_before_any_load(start_run: StartRun, tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    outcome = start_run(None, RESULTS_DIR=str(blocker / "results")).finish()

    assert outcome.code == 104
    assert "RESULTS_DIR" in outcome.err


@pytest.mark.parametrize("scale", ["0", "2", "fast"])
def test_bad_time_scale_is_usage(start_run: StartRun, scale: str) -> None:
    outcome = start_run(None, TIME_SCALE=scale).finish()

    assert outcome.code == 104
    assert f"TIME_SCALE: got '{scale}'" in outcome.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_ended_before_its_load_says_so_and_leaves_no_folder(
    start_run: StartRun, number: signal.Signals
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        run = start_run(None, TARGET=f"http://127.0.0.1:{silent.getsockname()[1]}")
        asked, _ = silent.accept()
        with asked:
            run.process.send_signal(number)
            outcome = run.finish()

    assert outcome.code == 105, outcome.out + outcome.err
    assert outcome.err.startswith("error: interrupted")
    assert "Traceback" not in outcome.err
    assert not list(outcome.results.glob("*-consoul-*"))
