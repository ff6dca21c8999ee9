"""A series of runs ends with its worst code, and stops where a person stopped it."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from loadtests.exit_codes import ExitCode
from loadtests.model import Profile
from loadtests.run import session
from loadtests.run.settings import read_settings
from loadtests.run.target import resolve_target

PROFILE = Profile.model_validate(
    {
        "name": "x",
        "description": "what does a series end with?",
        "stack": "consoul",
        "stages": [{"name": "a", "duration": "2m", "users": 1}],
        "mix": {"chat": 1},
    }
)


def run(monkeypatch: pytest.MonkeyPatch, codes: list[ExitCode], **environ: str) -> tuple[ExitCode, str, int]:
    left = list(codes)
    out = io.StringIO()
    target = resolve_target("consoul", {}, None)
    monkeypatch.setattr(session, "prepare", lambda name, _: session.Prepared(name, PROFILE, 120.0, target))
    monkeypatch.setattr(session, "run_one", lambda *_, **__: _ended(left.pop(0)))
    settings = read_settings(environ, Path("/lab"), {})
    console = Console(file=out, width=200)
    code = session.run_profiles(["consoul/x"] * len(codes), settings, console, ui=False)
    return code, out.getvalue(), len(left)


def _ended(code: ExitCode) -> tuple[ExitCode, bool]:
    return code, code is ExitCode.INTERRUPTED


@pytest.mark.parametrize(
    ("codes", "worst"),
    [
        ([ExitCode.PASS, ExitCode.PASS], ExitCode.PASS),
        ([ExitCode.INSUFFICIENT, ExitCode.PASS], ExitCode.INSUFFICIENT),
        ([ExitCode.FAIL, ExitCode.INSUFFICIENT], ExitCode.FAIL),
        ([ExitCode.FAIL, ExitCode.INVALID, ExitCode.PASS], ExitCode.INVALID),
    ],
)
def test_worst_code_wins(monkeypatch: pytest.MonkeyPatch, codes: list[ExitCode], worst: ExitCode) -> None:
    assert run(monkeypatch, codes)[0] is worst


def test_series_stops_where_a_person_stopped_it(monkeypatch: pytest.MonkeyPatch) -> None:
    code, _, left = run(monkeypatch, [ExitCode.PASS, ExitCode.INTERRUPTED, ExitCode.PASS])

    assert code is ExitCode.INTERRUPTED
    assert left == 1


def test_total_time_and_the_quick_look_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    _, out, _ = run(monkeypatch, [ExitCode.PASS, ExitCode.PASS])

    assert "4m in all" in out
    assert "make test-load-smoke" in out


def test_time_scale_is_announced_as_not_comparable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "never comparable" in run(monkeypatch, [ExitCode.PASS], TIME_SCALE="0.5")[1]
