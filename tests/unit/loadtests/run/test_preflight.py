"""A preflight finds every reason not to start, and reports them together."""

from pathlib import Path

import pytest

from loadtests.errors import TargetError, UsageError
from loadtests.model import Profile
from loadtests.run.preflight import Problem, ask_identity, check, find_problems
from loadtests.run.target import resolve_target

PROFILE = Profile.model_validate(
    {
        "name": "x",
        "description": "what happens with ten users?",
        "stack": "consoul",
        "stages": [{"name": "a", "duration": "10s", "users": 10}],
        "mix": {"chat": 1},
    }
)
TARGET = resolve_target("consoul", {}, None)


def answer(status: int, body: bytes = b"{}") -> object:
    return lambda _url: (status, body)


def refuse(_url: str) -> tuple[int, bytes]:
    raise ConnectionRefusedError(111, "Connection refused")


def find(root: Path, get: object, limit: int = 10_000, profile: Profile = PROFILE) -> list[Problem]:
    return find_problems(profile, TARGET, root, open_files_limit=limit, get=get)  # type: ignore[arg-type]


def test_a_ready_target_and_a_writable_folder_may_start(tmp_path: Path) -> None:
    assert find(tmp_path / "results", answer(200)) == []
    check([])


def test_target_that_is_down_says_which_where_and_how_to_start_it(tmp_path: Path) -> None:
    problems = find(tmp_path, refuse)

    with pytest.raises(TargetError, match=r"consoul: no answer from http://127.0.0.1:8000/ready .*make up"):
        check(problems)


def test_target_that_is_not_ready_is_quoted(tmp_path: Path) -> None:
    problems = find(tmp_path, answer(503, b'{"status":"not_ready"}'))

    with pytest.raises(TargetError, match="says 503, want 200: .*not_ready"):
        check(problems)


def test_results_folder_that_is_a_file_cannot_be_written(tmp_path: Path) -> None:
    path = tmp_path / "results"
    path.write_text("")

    with pytest.raises(UsageError, match=r"results folder .*RESULTS_DIR"):
        check(find(path, answer(200)))


def test_open_file_limit_is_held_against_the_users_asked_for(tmp_path: Path) -> None:
    assert find(tmp_path, answer(200), limit=210) == []

    with pytest.raises(UsageError, match="ulimit -n 210"):
        check(find(tmp_path, answer(200), limit=209))


def test_all_problems_come_at_once_and_the_callers_own_outranks(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        check(find(tmp_path, refuse, limit=20))

    assert "ulimit" in str(caught.value)
    assert "no answer" in str(caught.value)


def test_identity_keeps_only_what_names_the_target() -> None:
    get = answer(200, b'{"service":"consoul","version":"1","secret":"x"}')

    assert ask_identity(TARGET, get) == {"consoul": {"service": "consoul", "version": "1"}}  # type: ignore[arg-type]


def test_identity_is_text_that_a_result_can_hold() -> None:
    get = answer(200, b'{"service":"\\ud800 \\u001b[31mred","version":{"deep":1}}')

    assert ask_identity(TARGET, get) == {"consoul": {"service": " red", "version": "{'deep': 1}"}}  # type: ignore[arg-type]


def test_identity_of_a_target_that_nests_without_end_is_unknown() -> None:
    assert ask_identity(TARGET, answer(200, b"[" * 200_000)) == {"consoul": None}  # type: ignore[arg-type]


def test_what_a_target_says_cannot_reach_the_terminal_as_it_is(tmp_path: Path) -> None:
    problems = find(tmp_path, answer(503, b"\x1b]0;owned\x07\x1b[2Jsorry"))

    assert "\x1b" not in problems[0].text
    assert "want 200: sorry" in problems[0].text


def test_identity_of_a_target_that_speaks_no_json_is_unknown() -> None:
    assert ask_identity(TARGET, answer(200, b"hello")) == {"consoul": None}  # type: ignore[arg-type]
