"""The bootstrap playbook on this machine in check mode, which must change nothing and must not claim to."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mock_server.lab.bootstrap import ExtraVariables, build_playbook_command, inspect_host

ROOT = Path(__file__).resolve().parents[2]
HOST = inspect_host(os.geteuid())

needs_root_on_debian = pytest.mark.skipif(
    not (HOST.is_root and HOST.is_debian), reason="installing packages needs root on a Debian family machine"
)


def check(extra: ExtraVariables) -> tuple[int, str, dict[str, int]]:
    """Runs the playbook in check mode: exit code, output, and the counts of its recap."""
    done = subprocess.run(
        [*build_playbook_command(ROOT, extra, sys.executable), "--check"],
        env={
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_CONFIG": str(ROOT / "playbooks" / "ansible.cfg"),
            # Long messages would be wrapped where nobody can search for them.
            "COLUMNS": "1000",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    recap = done.stdout.splitlines()[-2] if done.returncode in (0, 2) else ""
    counts = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", recap)}
    return done.returncode, done.stdout, counts


@needs_root_on_debian
def test_nothing_changes_when_everything_is_installed() -> None:
    code, out, counts = check({"bootstrap_lab_package_names": ["dpkg", "apt"]})

    assert code == 0, out
    assert counts["changed"] == 0


def test_a_misspelt_variable_is_refused_with_the_known_ones() -> None:
    code, out, counts = check({"bootstrap_tests_packages": True})

    assert (code, counts["failed"]) == (2, 1)
    assert "Unknown variables: bootstrap_tests_packages" in out


def test_a_value_of_the_wrong_type_is_refused() -> None:
    code, out, _ = check({"bootstrap_test_packages": ["chromium"]})

    assert code == 2
    assert "bootstrap_test_packages" in out
