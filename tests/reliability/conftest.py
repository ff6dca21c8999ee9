"""The reliability suite: one test for each row, which says its number; the table is printed at the end.

A test is named by its code (`test_a03_…`), and calls `measure` with what had to be met and what was measured.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.integration.mock.conftest import redis_server, start_mock

__all__ = ["redis_server", "start_mock"]

_CODE = re.compile(r"test_([a-j])(\d\d)_(\w+)")


@dataclass
class Row:
    """One row of the table; `outcome` is None until the test ended."""

    code: str
    fault: str
    wanted: str = ""
    measured: str = ""
    outcome: str | None = None


_rows = pytest.StashKey[dict[str, Row]]()
Measure = Callable[[str, str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_rows] = {}


def _row_of(item: pytest.Item) -> Row | None:
    match = _CODE.match(item.name)
    if match is None:
        return None
    code = f"{match[1].upper()}{int(match[2])}"
    fault = match[3].replace("_", " ")
    return item.config.stash[_rows].setdefault(code, Row(code, fault))


@pytest.fixture
def measure(request: pytest.FixtureRequest) -> Measure:
    """Returns what a test of the suite calls once: (the number to meet, the number measured), both as text."""
    row = _row_of(request.node)
    assert row is not None, "a test of this suite is named test_<letter><two digits>_<fault>"

    def note(wanted: str, measured: str) -> None:
        row.wanted, row.measured = wanted, measured

    return note


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):  # type: ignore[no-untyped-def]
    report = yield
    row = _row_of(item)
    if row is not None and (report.when == "call" or report.outcome != "passed"):
        row.outcome = report.outcome
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = sorted(config.stash[_rows].values(), key=lambda row: (row.code[0], int(row.code[1:])))
    if not rows:
        return
    terminalreporter.section("reliability")
    widths = [max(len(text) for text in column) for column in zip(*map(_cells, rows), strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(_cells(row), widths, strict=True))
        terminalreporter.line(line.rstrip(), green=row.outcome == "passed", red=row.outcome == "failed")
    passed = sum(row.outcome == "passed" for row in rows)
    terminalreporter.line(f"{passed} of {len(rows)} survived")


def _cells(row: Row) -> tuple[str, ...]:
    return (row.code, row.outcome or "not run", row.fault, row.wanted, row.measured)
