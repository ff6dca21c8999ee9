"""Dashboards are what the generator writes, complete, and name only metrics that exist."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from prometheus_client import CollectorRegistry

from grafana.generate import DASHBOARDS, FOLDER, find_stale, render
from mock_server.metrics import Metrics
from mock_server.parent.exposition import WorkerUsage
from tests.contract.promql import metrics_of, parse, parts_of

ROOT = Path(__file__).resolve().parents[2]
PROVISIONING = ROOT / "grafana" / "provisioning"
COUNTER_FUNCTIONS = {"rate", "irate", "increase"}

COMMITTED = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{uid}: {panel['title']}")
    for uid, dashboard in COMMITTED.items()
    for panel in dashboard["panels"]
    if panel["type"] != "row"
]
EXPRESSIONS = [
    pytest.param(target["expr"], id=f"{uid}: {panel['title']} {target['refId']}")
    for uid, dashboard in COMMITTED.items()
    for panel in dashboard["panels"]
    for target in panel.get("targets", [])
]


@pytest.fixture(scope="module")
def samples() -> dict[str, str]:
    """Type of metric by name of sample, of everything the mock declares."""
    registry = CollectorRegistry()
    Metrics(registry, tiers=["default"])
    registry.register(WorkerUsage(dict))
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
    return {metric.name + suffix: metric.type for metric in registry.collect() for suffix in suffixes[metric.type]}


def test_committed_dashboards_are_what_the_generator_writes() -> None:
    assert find_stale(FOLDER) == []
    assert set(COMMITTED) == {dashboard.uid for dashboard in DASHBOARDS}


def test_an_edited_and_a_superfluous_file_are_found(tmp_path: Path) -> None:
    edited = tmp_path / "consoul.json"
    edited.write_text(render(DASHBOARDS[0]).replace("Latency", "Delay", 1))
    (tmp_path / "other.json").write_text("{}")

    assert find_stale(tmp_path) == [edited, tmp_path / "other.json"]


@pytest.mark.parametrize("uid", COMMITTED)
def test_a_dashboard_survives_the_schemas_round_trip(uid: str) -> None:
    # Warns when imported first; the generator has imported it already, without the warning.
    from grafana_foundation_sdk.models.dashboard import Dashboard

    again = json.loads(json.dumps(Dashboard.from_json(COMMITTED[uid]), cls=JSONEncoder))

    assert [panel["title"] for panel in again["panels"]] == [panel["title"] for panel in COMMITTED[uid]["panels"]]
    assert again["templating"] == COMMITTED[uid]["templating"]


@pytest.mark.parametrize("uid", COMMITTED)
def test_a_dashboard_is_named_by_its_file_read_only_and_has_the_variable(uid: str) -> None:
    dashboard = COMMITTED[uid]
    numbers = [panel["id"] for panel in dashboard["panels"]]

    assert dashboard["uid"] == uid
    assert dashboard["editable"] is False
    assert dashboard["schemaVersion"] <= 42
    assert "__inputs" not in dashboard
    assert [(item["name"], item["type"], item["query"]) for item in dashboard["templating"]["list"]] == [
        ("datasource", "datasource", "prometheus")
    ]
    assert len(set(numbers)) == len(numbers)


@pytest.mark.parametrize("uid", COMMITTED)
def test_panels_do_not_overlap_and_stay_on_the_grid(uid: str) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in COMMITTED[uid]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_is_complete(panel: dict[str, Any]) -> None:
    assert panel["title"]
    assert re.fullmatch(r"[A-Z][^.]*\.", re.sub(r"\d\.\d", "", panel["description"])), "not one sentence"
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    assert panel["targets"]
    for target in panel["targets"]:
        assert target["datasource"] == panel["datasource"]
        assert target["legendFormat"]


def test_the_error_gauge_turns_at_the_documents_limits() -> None:
    (gauge,) = (panel for panel in COMMITTED["consoul"]["panels"] if panel["type"] == "gauge")
    steps = gauge["fieldConfig"]["defaults"]["thresholds"]["steps"]

    assert [(step["color"], step["value"]) for step in steps] == [("green", None), ("orange", 1), ("red", 5)]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rates_use_the_interval_of_grafana(expression: str) -> None:
    assert set(re.findall(r"\[([^\]]+)\]", expression)) <= {"$__rate_interval"}


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_metric_exists_and_only_what_counts_has_a_rate(expression: str, samples: dict[str, str]) -> None:
    names = metrics_of(expression)

    assert names
    assert names <= set(samples), f"unknown: {names - set(samples)}"
    for part in parts_of(parse(expression)):
        if isinstance(part, promql_parser.Call) and part.func.name in COUNTER_FUNCTIONS:
            name = part.args[0].vector_selector.name
            assert samples[name] in {"counter", "histogram"}, f"{part.func.name} of {name}, a {samples[name]}"
    rated = {
        part.args[0].vector_selector.name
        for part in parts_of(parse(expression))
        if isinstance(part, promql_parser.Call) and part.func.name in COUNTER_FUNCTIONS
    }
    assert {name for name in names if samples[name] != "gauge"} <= rated, "a counter is drawn without a rate"


def test_recording_rules_and_alerts_read_only_metrics_that_exist(samples: dict[str, str]) -> None:
    paths = sorted((ROOT / "prometheus" / "rules").glob("*.yml"))
    rules = [
        rule for path in paths for group in yaml.safe_load(path.read_text())["groups"] for rule in group["rules"]
    ]
    recorded = {rule["record"] for rule in rules if "record" in rule}

    for rule in rules:
        # `up` is what Prometheus itself says of each target.
        assert metrics_of(rule["expr"]) <= {*samples, *recorded, "up"}, rule


def test_provisioning_fixes_the_source_and_turns_editing_off() -> None:
    (source,) = yaml.safe_load((PROVISIONING / "datasources" / "prometheus.yml").read_text())["datasources"]
    (provider,) = yaml.safe_load((PROVISIONING / "dashboards" / "lab.yml").read_text())["providers"]
    scrape = yaml.safe_load((ROOT / "prometheus" / "prometheus.yml").read_text())["global"]["scrape_interval"]

    assert source["uid"] == "lab-prometheus"
    assert source["editable"] is False
    assert source["url"] == "${PROMETHEUS_URL}"
    assert source["jsonData"]["timeInterval"] == scrape
    assert provider["allowUiUpdates"] is False
    assert provider["disableDeletion"] is True
    assert provider["options"]["path"] == "${GRAFANA_DASHBOARDS}"
