"""When packages are installed, and what is said when they are not."""

import json
from pathlib import Path

import pytest

from mock_server.lab.bootstrap import Host, build_playbook_command, decide, inspect_host

ROOT_ON_DEBIAN = Host(is_root=True, is_debian=True)
MISSING = ("redis-server", "prometheus")


def test_nothing_missing_is_nothing_said() -> None:
    decision = decide((), ROOT_ON_DEBIAN, may_bootstrap=True)

    assert (decision.verdict, decision.line) == ("complete", "")


def test_root_on_debian_installs() -> None:
    decision = decide(MISSING, ROOT_ON_DEBIAN, may_bootstrap=True)

    assert decision.verdict == "install"
    assert "redis-server prometheus" in decision.line


@pytest.mark.parametrize(
    ("host", "may_bootstrap", "words"),
    [
        (ROOT_ON_DEBIAN, False, "BOOTSTRAP=no"),
        (Host(is_root=False, is_debian=True), True, "sudo make bootstrap"),
        (Host(is_root=True, is_debian=False), True, "this system's packages"),
        (Host(is_root=False, is_debian=False), False, "this system's packages"),
    ],
)
def test_everybody_else_is_told_in_one_line(host: Host, may_bootstrap: bool, words: str) -> None:
    decision = decide(MISSING, host, may_bootstrap=may_bootstrap)

    assert decision.verdict == "told"
    assert words in decision.line
    assert "\n" not in decision.line


def test_debian_is_known_by_its_version_file(tmp_path: Path) -> None:
    assert inspect_host(1000, tmp_path) == Host(is_root=False, is_debian=False)
    (tmp_path / "debian_version").touch()
    assert inspect_host(0, tmp_path) == ROOT_ON_DEBIAN


def test_variables_of_the_playbook_travel_as_json() -> None:
    command = build_playbook_command(Path("/checkout"), {"bootstrap_lab_package_names": ["prometheus"]}, "python")

    assert command[:4] == ["python", "-m", "ansible", "playbook"]
    assert json.loads(command[command.index("--extra-vars") + 1]) == {"bootstrap_lab_package_names": ["prometheus"]}
    assert command[-1] == "/checkout/playbooks/bootstrap.yml"
