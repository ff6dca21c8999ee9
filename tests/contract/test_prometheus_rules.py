"""Prometheus' files: valid, tested, complete, and true to the metrics the mock promises."""

import os
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from tests.contract.promql import parse, parts_of

FOLDER = Path(__file__).resolve().parents[2] / "prometheus"
RULE_FILES = sorted(FOLDER.glob("rules/*.yml"))
CONFIGURATIONS = ["prometheus.yml", "prometheus.compose.yml"]
RECORDED = re.compile(r"^[a-z_]+:[a-z_]+:[a-z0-9_]+$")


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _rules(kind: str) -> list[dict[str, Any]]:
    return [rule for path in RULE_FILES for group in _load(path)["groups"] for rule in group["rules"] if kind in rule]


ALERTS = _rules("alert")
RECORDINGS = _rules("record")


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        how = "promtool is not on PATH; on Debian: apt-get install prometheus"
        if os.environ.get("CI") == "true":
            pytest.fail(how)
        pytest.skip(how)
    return found


def _promtool(promtool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([promtool, *arguments], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_promtool_accepts_the_configuration_and_its_rules(promtool: str, name: str) -> None:
    done = _promtool(promtool, "check", "config", "--lint=all", "--lint-fatal", str(FOLDER / name))

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(RULE_FILES)} rule files found" in done.stdout


def test_the_rules_own_tests_pass(promtool: str) -> None:
    done = _promtool(promtool, "test", "rules", *map(str, sorted(FOLDER.glob("tests/*.yml"))))

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("written", "broken"),
    [
        ("p99_5m > 5", "p99_5m > 10"),
        ("for: 2m", "for: 4m"),
        (">= 1", ">= 0"),
        ("== 2\n          or (", "== 3\n          or ("),
        ("unplanned_ratio5m > 0.01", "unplanned_ratio5m > 0.03"),
        ("unplanned_ratio5m > 0.05", "unplanned_ratio5m > 0.08"),
        ("for: 30s", "for: 10s"),
        ("* 600 > 1e6", "* 60 > 1e6"),
        ("> 1000\n", "> 500\n"),
        ("> 1.5 *", "> 0.9 *"),
        ("[5m])) > 5", "[5m])) > 2"),
    ],
)
def test_the_alerts_tests_notice_a_broken_rule(promtool: str, tmp_path: Path, written: str, broken: str) -> None:
    shutil.copytree(FOLDER, tmp_path / "prometheus")
    rules = tmp_path / "prometheus" / "rules" / "consoul_alerts.yml"
    assert written in rules.read_text()
    rules.write_text(rules.read_text().replace(written, broken))

    done = _promtool(promtool, "test", "rules", str(tmp_path / "prometheus" / "tests" / "consoul_alerts.yml"))

    assert done.returncode != 0


def test_containers_scrape_the_same_as_this_machine_but_for_the_addresses() -> None:
    native, compose = (_load(FOLDER / name) for name in CONFIGURATIONS)
    jobs = {job["job_name"]: job["static_configs"][0]["targets"] for job in native["scrape_configs"]}
    jobs_compose = {job["job_name"]: job for job in compose["scrape_configs"]}
    (found_by_name,) = jobs_compose["consoul"]["dns_sd_configs"]

    assert jobs == {"consoul": ["127.0.0.1:9090"], "prometheus": ["127.0.0.1:9091"]}
    assert jobs_compose["prometheus"]["static_configs"] == [{"targets": ["127.0.0.1:9091"]}]
    assert (found_by_name["names"], found_by_name["type"], found_by_name["port"]) == (["consoul"], "A", 9090)
    assert set(jobs_compose) == set(jobs)
    for configuration in (native, compose):
        del configuration["scrape_configs"]
    assert native == compose


@pytest.mark.parametrize("rule", ALERTS + RECORDINGS, ids=lambda rule: rule.get("alert") or rule["record"])
def test_windows_are_at_least_four_scrapes_long(rule: dict[str, Any]) -> None:
    scrape_s = promql_parser.parse_duration(_load(FOLDER / "prometheus.yml")["global"]["scrape_interval"])

    for part in parts_of(parse(rule["expr"])):
        if hasattr(part, "range"):
            assert part.range >= 4 * scrape_s >= timedelta(seconds=8)


@pytest.mark.parametrize("rule", RECORDINGS, ids=lambda rule: rule["record"])
def test_recorded_names_say_level_metric_and_operation(rule: dict[str, Any]) -> None:
    assert RECORDED.match(rule["record"])


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_complete(alert: dict[str, Any]) -> None:
    headings = re.findall(r"^## (\w+)$", (FOLDER / "runbook.md").read_text(), re.M)

    assert alert["for"]
    assert alert["labels"]["severity"] in {"warning", "critical"}
    assert alert["annotations"]["summary"]
    assert alert["annotations"]["description"]
    assert alert["alert"] in headings
    assert alert["annotations"]["runbook"] == f"runbook.md#{alert['alert'].lower()}"


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_is_tested_firing_quiet_and_without_data(alert: dict[str, Any]) -> None:
    tests = [test for path in FOLDER.glob("tests/*.yml") for test in _load(path)["tests"]]
    cases = [
        (test["name"], bool(case["exp_alerts"]))
        for test in tests
        for case in test.get("alert_rule_test", [])
        if case["alertname"] == alert["alert"]
    ]

    assert ("no alert fires without data", False) in cases
    firing = {name for name, fires in cases if fires}
    assert firing, "no test in which it fires"
    assert any((name, False) in cases for name in firing), "no moment just before, in a test in which it fires"
    assert any(not fires and name not in firing and "without data" not in name for name, fires in cases), (
        "no healthy test"
    )


def test_the_documents_three_alerts_are_there_with_their_severities() -> None:
    found = {(alert["alert"], alert["for"], alert["labels"]["severity"]) for alert in ALERTS}

    assert found >= {
        ("HighLatency", "5m", "warning"),
        ("RedisUnavailable", "2m", "critical"),
        ("CircuitBreakerOpen", "1m", "critical"),
    }


def test_the_error_rate_warns_at_one_and_is_critical_at_five_percent() -> None:
    rates = {alert["labels"]["severity"]: alert["expr"] for alert in ALERTS if alert["alert"] == "HighErrorRate"}

    assert {severity: expr.rpartition(" > ")[2] for severity, expr in rates.items()} == {
        "warning": "0.01",
        "critical": "0.05",
    }


def test_what_all_instances_share_is_never_added_up() -> None:
    for rule in ALERTS + RECORDINGS:
        assert not re.search(r"sum[^(]*\((?:rate\()?consoul_active_sessions", rule["expr"])
