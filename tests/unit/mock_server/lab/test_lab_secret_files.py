"""A secret is made once, for its owner's eyes only, and never written through a link."""

from pathlib import Path

import pytest

from mock_server.lab.errors import LabError
from mock_server.lab.secret_files import make_secret_file


def test_a_secret_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "secrets" / "token"

    make_secret_file(path, "first")
    make_secret_file(path, "second")

    assert path.read_text() == "first"
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_an_empty_one_is_filled_and_a_readable_one_closed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(mode=0o644)

    make_secret_file(path, "now")

    assert path.read_text() == "now"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").touch()
    (tmp_path / "token").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(LabError, match="this secret cannot be written"):
        make_secret_file(tmp_path / "token", "secret")
    assert (tmp_path / "elsewhere").read_text() == ""
