"""The report in a real browser, where one is installed: hostile text adds no element and the policy holds."""

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from loadtests.results.builder import build_result
from loadtests.results.events import RunEvent
from loadtests.results.report import render_report
from tests.unit.loadtests.results.simulation import GIT, TARGET, VERSIONS, Simulation, build_plan, run_simulation
from tests.unit.loadtests.results.test_report import HOSTILE, build_result_with_text

BROWSER = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip


class _Count(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)


def _open(path: Path, profile: Path) -> tuple[list[str], str]:
    """The elements of the page as the browser built it, and what it complained of."""
    assert BROWSER is not None
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"file://{path}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    return _Count(done.stdout).tags, "\n".join(re.findall(r".*CONSOLE.*|.*ERR_.*", done.stderr))


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on PATH: the report is not opened in a browser")
def test_hostile_report_is_built_like_a_plain_one_and_nothing_is_refused(tmp_path: Path) -> None:
    tally = run_simulation(Simulation(build_plan(time_scale=0.1)))
    series = tally.finish()
    result = build_result(tally, created_unix=0, target=TARGET, versions=VERSIONS, git=GIT, is_interrupted=False)
    seen = []
    for name, text in (("plain", "plain"), ("hostile", " ".join(HOSTILE))):
        path = tmp_path / f"{name}.html"
        changed = build_result_with_text(result, text)
        path.write_text(render_report(changed, series, [RunEvent(1.0, "alarm", text, text)], None), encoding="utf-8")
        seen.append(_open(path, tmp_path / f"profile-{name}"))
    assert seen[0] == seen[1]
    assert seen[0][1] == ""
    assert len(seen[0][0]) > 500
