"""The words and figures of the report: those of the result, formatted once."""

from loadtests.results.formats import format_count, format_rate, format_ratio, format_seconds
from loadtests.results.model import RunResult
from loadtests.results.report_view import build_environment_facts, build_facts, build_tiles


def test_tiles_are_the_figures_of_the_run(result: RunResult) -> None:
    row = result.row()
    assert row is not None
    percentiles = row.timings["latency"].percentiles_s
    assert [(name, value) for name, value, _ in build_tiles(result)] == [
        ("finished", format_count(row.finished)),
        ("rate", format_rate(row.rate)),
        ("errors", format_ratio(row.error_ratio)),
        ("p50", format_seconds(percentiles["p50"])),
        ("p95", format_seconds(percentiles["p95"])),
        ("p99", format_seconds(percentiles["p99"])),
    ]


def test_tiles_of_a_run_without_data_are_unknown(result: RunResult) -> None:
    assert [value for _, value, _ in build_tiles(result.model_copy(update={"statistics": ()}))][:3] == ["–", "–", "–"]


def test_facts_identify_the_run(result: RunResult) -> None:
    facts = dict(build_facts(result))
    assert facts["Run"] == result.run_id
    assert facts["Length"] == "26s, 1 generating process"
    assert facts["Load model"] == "closed: users with think time 1.00 s"
    assert facts["Commit"] == "0123456789ab"
    assert facts["Target consoul"] == "http://127.0.0.1:8000"
    assert "never comparable" in facts["Comparable"]


def test_environment_shows_what_was_read_and_nothing_else() -> None:
    fields = {
        "os.name": {"value": "Debian"},
        "memory.total_bytes": {"value": 2 * 1024**3},
        "cpu.governor": {"value": None, "reason": "not there"},
        "activity.load_average": {"value": [0.5, 0.25]},
        "kernel.command_line": {"value": "secret=1"},
    }
    assert build_environment_facts({"before": {"fields": fields}}) == [
        ("System", "Debian"), ("Memory", "2.00 GiB"), ("Load before the run", "0.5, 0.25"),
    ]  # fmt: skip


def test_a_missing_or_foreign_environment_gives_no_facts() -> None:
    assert build_environment_facts(None) == []
    assert build_environment_facts({"before": {"fields": "text"}}) == []
    assert build_environment_facts({"other": 1}) == []
