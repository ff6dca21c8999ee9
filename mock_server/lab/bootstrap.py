"""Installing what a complete lab needs, through the bootstrap playbook; only as root on a Debian family machine."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

ExtraVariables = Mapping[str, bool | list[str]]
Verdict = Literal["complete", "install", "told"]
DEADLINE_S = 600


@dataclass(frozen=True)
class Host:
    """What decides whether this machine may be given packages."""

    is_root: bool
    is_debian: bool


@dataclass(frozen=True)
class Decision:
    """Whether to install, and the line that tells a person what is missing and how to get it."""

    verdict: Verdict
    line: str = ""


def inspect_host(user_id: int, etc: Path = Path("/etc")) -> Host:
    """This machine, by its user and the file every Debian relative has."""
    return Host(is_root=user_id == 0, is_debian=(etc / "debian_version").exists())


def decide(missing: tuple[str, ...], host: Host, *, may_bootstrap: bool) -> Decision:
    """What to do about the `missing` Debian packages."""
    if not missing:
        return Decision("complete")
    names = " ".join(missing)
    if not host.is_debian:
        return Decision("told", f"Not installed: {names}. Install them with this system's packages to have them.")
    if not may_bootstrap:
        return Decision(
            "told", f"Not installed: {names} (BOOTSTRAP=no). `make up BOOTSTRAP=yes` as root installs them."
        )
    if not host.is_root:
        return Decision("told", f"Not installed: {names}. Get them with: sudo make bootstrap")
    return Decision("install", f"Installing {names} (once; BOOTSTRAP=no skips this) …")


def build_playbook_command(root: Path, extra: ExtraVariables, python: str = sys.executable) -> list[str]:
    """The command line that runs the bootstrap playbook on this machine."""
    playbooks = root / "playbooks"
    command = [python, "-m", "ansible", "playbook", "--inventory", str(playbooks / "inventories" / "local")]
    return [*command, "--extra-vars", json.dumps(extra), str(playbooks / "bootstrap.yml")]


def run_playbook(root: Path, log: Path, variables: Mapping[str, str], extra: ExtraVariables) -> bool:
    """Runs the bootstrap playbook with its output in `log`; returns whether it succeeded."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {
        **variables,
        "ANSIBLE_CONFIG": str(root / "playbooks" / "ansible.cfg"),
        "DEBIAN_FRONTEND": "noninteractive",
        # Ansible refuses to start under a locale that is not UTF-8.
        "LC_ALL": "C.UTF-8",
    }
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                build_playbook_command(root, extra),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=DEADLINE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return False
    return done.returncode == 0
