"""The snapshot's seams: the command a run calls, the page, the difference, and the playbook, all on this host."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from playbooks.module_utils.snapshot import host
from playbooks.module_utils.snapshot.host import AbsentError, CommandFailedError, run_command

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "playbooks" / "module_utils" / "environment_snapshot.py"


def _call(*arguments: str | Path, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def snapshot() -> dict[str, Any]:
    done = _call()
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def test_the_command_prints_one_snapshot_of_this_host_and_nothing_else(snapshot: dict[str, Any]) -> None:
    assert snapshot["schema"] == 1
    assert snapshot["fields"]["software.python"]["value"].startswith("CPython 3.")
    assert len(snapshot["fields"]["source.git_sha"]["value"]) == 40


def test_it_works_from_any_folder_and_keeps_secrets_of_the_target_out(tmp_path: Path) -> None:
    settings, output = tmp_path / "settings.json", tmp_path / "snapshot.json"
    settings.write_text('{"CONSOUL_API_KEYS": "canary-key", "REDIS_URL": "redis://:canary-pw@127.0.0.1"}')

    done = _call("--target-settings", settings, "--output", output, "--page", folder=tmp_path)

    assert done.returncode == 0, done.stderr
    assert "canary" not in done.stdout + output.read_text()
    assert "CONSOUL_API_KEYS: ***" in done.stdout


def test_no_environment_variable_reaches_the_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_KEY", "canary-of-the-environment")

    assert "canary" not in _call().stdout


def test_a_page_can_be_drawn_from_a_file(snapshot: dict[str, Any], tmp_path: Path) -> None:
    stored = tmp_path / "snapshot.json"
    stored.write_text(json.dumps(snapshot))

    page = _call("--read", stored, "--page").stdout

    assert snapshot["taken_at"] in page
    assert max(map(len, page.splitlines())) <= 100


def test_the_difference_of_two_files(snapshot: dict[str, Any], tmp_path: Path) -> None:
    changed = json.loads(json.dumps(snapshot))
    changed["fields"]["cpu.model"]["value"] = "another"
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(json.dumps(snapshot))
    after.write_text(json.dumps(changed))

    result = json.loads(_call("--difference", before, after).stdout)

    assert result["comparison"] == "not comparable"
    assert [entry["field"] for entry in result["changed"]["identity"]] == ["cpu.model"]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), ("{", "not JSON"), ("[]", "expected an object"), ("{}", "not a snapshot")],
)
def test_a_file_that_is_no_snapshot_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "bad.json"
    if content is not None:
        path.write_text(content)

    done = _call("--read", path, "--page")

    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_playbook_collects_into_a_folder_and_changes_nothing(tmp_path: Path) -> None:
    command = [
        *(
            str(Path(sys.executable).with_name("ansible-playbook")),
            "--inventory",
            "localhost,",
            "--connection",
            "local",
        ),
        *("--check", str(ROOT / "playbooks" / "snapshot.yml"), "--extra-vars"),
        json.dumps({"snapshot_folder": str(tmp_path / "out"), "ansible_python_interpreter": sys.executable}),
    ]

    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, cwd=tmp_path)

    assert done.returncode == 0, done.stdout + done.stderr
    assert "changed=0" in done.stdout
    collected = json.loads((tmp_path / "out" / "localhost.json").read_text())
    assert collected["fields"]["os.name"]["value"]
    assert collected["fields"]["source.git_sha"]["reason"] == "no repository was named"


def test_a_command_that_is_not_there_is_absent() -> None:
    with pytest.raises(AbsentError, match="no-such-program is not on PATH"):
        run_command(("no-such-program", "--version"))


def test_a_command_that_fails_tells_its_code_and_what_it_said() -> None:
    with pytest.raises(CommandFailedError, match=r"sh ended with 3: why") as failed:
        run_command(("sh", "-c", "echo why >&2; exit 3"))

    assert failed.value.output == "why"


def test_a_command_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "COMMAND_TIMEOUT_S", 0.2)

    with pytest.raises(AbsentError, match=r"sleep took more than 0\.2 s"):
        run_command(("sleep", "60"))
