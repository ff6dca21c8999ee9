"""The repository keeps its own promises: fixed top level, commands that exist, no trace of where it was written."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    *("Makefile", "README.md", "LICENSE", "CHANGELOG.md", "CONTRIBUTING.md", "pyproject.toml", "docker-compose.yml"),
    *("requirements.txt", "requirements-dev.txt", "requirements-mock.txt"),
    *("mock_server", "loadtests", "playbooks", "grafana", "prometheus", "tests"),
}
MAKE_COMMAND = re.compile(r"\bmake ((?:[a-z][a-z0-9-]*)(?: [a-z][a-z0-9-]+)*)")


def _tracked() -> list[str]:
    listed = subprocess.run(["git", "-C", str(ROOT), "ls-files"], capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def _text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


def test_top_level_holds_only_what_the_design_names() -> None:
    top = {name.split("/")[0] for name in _tracked()}

    assert {name for name in top if not name.startswith(".")} == TOP_LEVEL


@pytest.mark.parametrize("folder", ["mock_server", "loadtests", "playbooks", "grafana", "prometheus", "tests"])
def test_each_top_folder_says_what_belongs_there(folder: str) -> None:
    first_lines = "\n".join(_text_of(f"{folder}/README.md").splitlines()[:6]).lower()

    assert "belongs here" in first_lines
    assert "not" in first_lines


def _commands_in(text: str) -> list[str]:
    """Inline code, `$ ` lines of code blocks and steps of workflows: where a reader finds a command to copy."""
    inline = re.findall(r"`([^`\n]+)`", text)
    lines = re.findall(r"^\s*(?:\$ |- run: )(.+)$", text, re.M)
    return inline + lines


def _documented_goals() -> list[tuple[str, str]]:
    found = set()
    for name in _tracked():
        if name.endswith(".md") or name.startswith(".github/workflows"):
            for command in _commands_in(_text_of(name)):
                found |= {(name, goal) for match in MAKE_COMMAND.findall(command) for goal in match.split()}
    return sorted(found)


def test_every_make_goal_named_in_the_documentation_exists() -> None:
    goals = _documented_goals()
    assert ("README.md", "up") in goals
    for name, goal in goals:
        dry = subprocess.run(["make", "-n", goal], cwd=ROOT, capture_output=True, text=True, check=False)
        assert dry.returncode == 0, f"{name} names `make {goal}`: {dry.stderr.strip()}"


def test_workflows_run_make_goals_only() -> None:
    for name in _tracked():
        if not name.startswith(".github/workflows/"):
            continue
        jobs = yaml.safe_load(_text_of(name))["jobs"]
        for job in jobs.values():
            for step in job["steps"]:
                assert "uses" in step or re.fullmatch(r"(sudo -E )?make [a-z0-9 -]+", step["run"]), f"{name}: {step}"


def test_ci_runs_the_documented_test_command() -> None:
    assert "make test-all" in _text_of(".ci/run")
    assert "make test-all" in _text_of("README.md")


def test_no_path_of_a_private_machine_is_committed() -> None:
    private = re.compile(r"(?<![\w.])/(?:work|farm|root|home/\w+|Users/\w+)/\w")
    offending = [name for name in _tracked() if name != "LICENSE" and private.search(_text_of(name))]

    assert offending == []


def test_locks_carry_hashes_and_name_no_index() -> None:
    for name in ("requirements.txt", "requirements-dev.txt", "requirements-mock.txt"):
        text = _text_of(name)
        pins = re.findall(r"^[a-z0-9-]+==", text, re.M)
        assert len(pins) > 10
        assert text.count("--hash=sha256:") >= len(pins)
        assert "://" not in text
