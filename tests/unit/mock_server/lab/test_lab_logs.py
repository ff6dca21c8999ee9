"""Logs: the last lines, and the tail that follows them."""

from pathlib import Path

import pytest

from mock_server.lab.errors import LabError
from mock_server.lab.logs import build_tail_command, read_last_lines


def test_the_last_lines_are_indented(tmp_path: Path) -> None:
    log = tmp_path / "a.log"
    log.write_text("".join(f"line {number}\n" for number in range(5000)))

    assert read_last_lines(log, 2) == "  line 4998\n  line 4999"


@pytest.mark.parametrize("exists", [True, False])
def test_an_empty_log_is_said_to_be_empty(tmp_path: Path, exists: bool) -> None:
    log = tmp_path / "a.log"
    if exists:
        log.touch()

    assert read_last_lines(log) == f"  ({log} holds nothing)"


def test_all_logs_or_one_are_followed(tmp_path: Path) -> None:
    for name in ("redis.log", "consoul.log", "redis.log.1"):
        (tmp_path / name).touch()

    assert build_tail_command(tmp_path, None, follow=True, lines=5) == [
        *("tail", "-n", "5", "-F", f"{tmp_path}/consoul.log", f"{tmp_path}/redis.log")
    ]
    assert build_tail_command(tmp_path, "redis", follow=False, lines=5) == [
        "tail",
        "-n",
        "5",
        f"{tmp_path}/redis.log",
    ]


def test_an_unknown_service_is_told_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "redis.log").touch()

    with pytest.raises(LabError, match=r"No log of 'rediss' in .*; there are: redis\."):
        build_tail_command(tmp_path, "rediss", follow=False, lines=5)


def test_no_logs_yet_points_to_make_up(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="`make up` writes them"):
        build_tail_command(tmp_path, None, follow=False, lines=5)
