import logging
from pathlib import Path

import pytest

from mock_server.control.token import MOST_CHARACTERS, load_token, parse_token
from mock_server.errors import SettingsError

TOKEN = "canary-token-0123456789"


def write(folder: Path, raw: bytes, mode: int = 0o600) -> Path:
    path = folder / "token"
    path.write_bytes(raw)
    path.chmod(mode)
    return path


def test_space_around_the_token_is_left_out(tmp_path: Path) -> None:
    token = load_token(write(tmp_path, f" {TOKEN}\r\n".encode()))
    assert token.is_token(TOKEN)
    assert not token.is_token(TOKEN + "\n")


@pytest.mark.parametrize("given", ["", TOKEN[:-1], TOKEN + "0", TOKEN.upper(), "\udcff", "ÿ" * 20])
def test_nothing_else_is_the_token(tmp_path: Path, given: str) -> None:
    assert not load_token(write(tmp_path, TOKEN.encode())).is_token(given)


def test_it_does_not_show(tmp_path: Path) -> None:
    token = load_token(write(tmp_path, TOKEN.encode()))
    assert repr(token) == "ControlToken()"
    assert TOKEN.encode() not in token.digest


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"canary-short",
        b"canary with spaces in it",
        b"canary-\x00-control-character",
        b"canary-first-line-0123\ncanary-second-line-0123",
        "canary-clé-0123456789".encode(),
        b"\xff" * 20,
        b"c" * (MOST_CHARACTERS + 1),
    ],
)
def test_what_is_no_token_is_refused_unseen(tmp_path: Path, raw: bytes) -> None:
    path = write(tmp_path, raw)
    with pytest.raises(SettingsError) as caught:
        load_token(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"MOCK_CONTROL_TOKEN_FILE: {path} must hold one token of 16 to 4096")
    assert "openssl rand" in problem
    assert "canary" not in problem


@pytest.mark.parametrize("characters", [16, MOST_CHARACTERS])
def test_the_bounds_are_allowed(characters: int) -> None:
    assert parse_token(b"c" * characters) is not None
    assert parse_token(b"c" * 15) is None


@pytest.mark.parametrize("make", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, make: str) -> None:
    path = tmp_path / "token"
    if make == "folder":
        path.mkdir()
    with pytest.raises(
        SettingsError, match=r"MOCK_CONTROL_TOKEN_FILE: .*/token cannot be read .*openssl rand -hex 32"
    ):
        load_token(path)


@pytest.mark.parametrize(
    ("mode", "warns"), [(0o600, False), (0o400, False), (0o444, True), (0o640, True), (0o602, True)]
)
def test_a_file_that_others_may_read_is_warned_of_and_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, mode: int, warns: bool
) -> None:
    path = write(tmp_path, TOKEN.encode(), mode)
    with caplog.at_level(logging.WARNING):
        assert load_token(path).is_token(TOKEN)
    assert [str(path) in record.getMessage() for record in caplog.records] == [True] * warns
    assert "canary" not in caplog.text
