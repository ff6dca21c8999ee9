"""The command line ends with the code of the cause, a defect of our own included."""

import pytest

from loadtests import cli
from loadtests.errors import UsageError


def test_a_defect_of_ours_has_the_code_of_a_broken_harness(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def break_down(_: object) -> list[str]:
        raise RuntimeError("a defect")

    monkeypatch.setattr(cli, "list_profiles", break_down)
    assert cli.main(["list"], {}) == 107
    assert "error: the instrument broke (RuntimeError)" in capsys.readouterr().err


def test_an_error_keeps_its_lines_and_cannot_steer_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(_: object) -> list[str]:
        raise UsageError("first\n  - \x1b[2Jsecond")

    monkeypatch.setattr(cli, "list_profiles", refuse)
    assert cli.main(["list"], {}) == 104
    assert capsys.readouterr().err == "error: first\n  - second\n"


def test_ctrl_c_outside_a_run_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(_: object) -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "list_profiles", interrupt)
    assert cli.main(["list"], {}) == 105
    assert capsys.readouterr().err.startswith("error: interrupted")
