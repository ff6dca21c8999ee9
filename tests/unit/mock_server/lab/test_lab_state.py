"""State on disk: written whole, read strictly, locked by one."""

import json
import os
from pathlib import Path

import pytest

from mock_server.lab.errors import LabError, StateError
from mock_server.lab.state import LabState, ServiceRecord, hold_lock, read_state, write_json, write_state

STATE = LabState(
    stack="consoul",
    mode="native",
    services=(ServiceRecord("redis", ("redis://127.0.0.1:1",), (("Redis", "redis://127.0.0.1:1"),), 0),),
    notes=("a note",),
    settings_digest="d",
    redis_port=1,
    lab_file={"schema": 1},
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.json"
    write_state(path, STATE)

    assert read_state(path) == STATE
    assert list(path.parent.iterdir()) == [path]


def test_no_file_is_no_lab(tmp_path: Path) -> None:
    assert read_state(tmp_path / "state.json") is None


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', '{"schema": 1, "services": [{"name": "x"}]}'])
def test_a_broken_file_is_named_with_the_way_out(tmp_path: Path, text: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(text)

    with pytest.raises(LabError, match=r"state\.json: not what this version .* `make down` ends"):
        read_state(path)


def test_another_versions_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    for document, mode in (({"schema": 2, "mode": "compose"}, "compose"), ({"schema": 1, "stack": "consoul"}, None)):
        write_json(path, document)

        with pytest.raises(StateError) as caught:
            read_state(path)
        assert caught.value.mode == mode


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "lab.json"
    write_json(path, {"schema": 1})

    with pytest.raises(TypeError):
        write_json(path, {"schema": object()})

    assert json.loads(path.read_text()) == {"schema": 1}


def test_a_second_holder_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold_lock(path), pytest.raises(LabError, match=f"pid {os.getpid()}"), hold_lock(path):
        pass

    with hold_lock(path):
        assert path.read_text() == f"{os.getpid()}\n"
