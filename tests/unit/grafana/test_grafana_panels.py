"""A panel's description becomes Grafana's schema: nothing is lost, nothing is invented."""

import json
from typing import Any

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from grafana.panels import Dashboard, Panel, Query, Row, build_dashboard, build_panel


def _as_json(built: Any) -> Any:
    return json.loads(json.dumps(built, cls=JSONEncoder))


def _panel(**facts: Any) -> Any:
    spec = Panel("Title", "One sentence.", "s", (Query("up", "{{job}}"), Query("down", "d")), **facts)
    return _as_json(build_panel(spec, 7).build())


def test_queries_keep_their_order_and_name_their_source_by_variable() -> None:
    panel = _panel()

    assert panel["id"] == 7
    assert [(target["refId"], target["expr"], target["legendFormat"]) for target in panel["targets"]] == [
        ("A", "up", "{{job}}"),
        ("B", "down", "d"),
    ]
    assert {target["datasource"]["uid"] for target in panel["targets"]} == {"${datasource}"}


def test_limits_become_orange_and_red_and_none_leaves_green() -> None:
    def steps(panel: Any) -> list[tuple[str, float | None]]:
        return [(step["color"], step["value"]) for step in panel["fieldConfig"]["defaults"]["thresholds"]["steps"]]

    assert steps(_panel(limits=(1, 5))) == [("green", None), ("orange", 1), ("red", 5)]
    assert steps(_panel()) == [("green", None)]


def test_lines_are_drawn_at_the_limits_of_a_time_series_only_when_there_are_any() -> None:
    assert _panel(limits=(1, 5))["fieldConfig"]["defaults"]["custom"]["thresholdsStyle"] == {"mode": "dashed"}
    assert "thresholdsStyle" not in _panel()["fieldConfig"]["defaults"]["custom"]


def test_states_become_words_with_colours() -> None:
    panel = _panel(kind="statetimeline", states={1: ("bad", "red"), 0: ("good", "green")})
    (mapping,) = panel["fieldConfig"]["defaults"]["mappings"]

    assert panel["type"] == "state-timeline"
    assert [(value, result["text"], result["color"]) for value, result in sorted(mapping["options"].items())] == [
        ("0", "good", "green"),
        ("1", "bad", "red"),
    ]


def test_a_gauge_shows_the_last_value() -> None:
    assert _panel(kind="gauge", maximum=10)["options"]["reduceOptions"]["calcs"] == ["lastNotNull"]


def test_panels_are_numbered_in_reading_order_across_rows() -> None:
    panel = Panel("P", "D.", "s", (Query("up", "u"),))
    spec = Dashboard("uid", "Title", "About.", ("tag",), (Row("one", (panel, panel)), Row("two", (panel,))))

    built = _as_json(build_dashboard(spec))

    assert [item["id"] for item in built["panels"]] == [1, 2, 3, 4, 5]
    assert [item["type"] for item in built["panels"]] == ["row", "timeseries", "timeseries", "row", "timeseries"]
    assert built["editable"] is False
