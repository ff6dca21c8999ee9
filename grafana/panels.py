"""The vocabulary dashboards are written in, and its translation into Grafana's schema. Pure: no file is touched."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

with warnings.catch_warnings():
    # The package advises its second schema; the classic one is what every supported Grafana reads from files.
    warnings.filterwarnings("ignore", "Prefer using dashboardv2", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as common_builders
    from grafana_foundation_sdk.builders import dashboard as builders
    from grafana_foundation_sdk.builders import gauge, prometheus, stat, statetimeline, timeseries
    from grafana_foundation_sdk.models import common, dashboard

Kind = Literal["timeseries", "gauge", "stat", "statetimeline"]

DATASOURCE_VARIABLE = "datasource"
# The variable, not a fixed uid: the dashboard then works on any Prometheus it is imported beside.
_DATASOURCE = common.DataSourceRef(type_val="prometheus", uid=f"${{{DATASOURCE_VARIABLE}}}")
_BUILDERS: Mapping[Kind, Any] = {
    "timeseries": timeseries.Panel,
    "gauge": gauge.Panel,
    "stat": stat.Panel,
    "statetimeline": statetimeline.Panel,
}
_COLOURS = ("green", "orange", "red")


@dataclass(frozen=True)
class Query:
    """One expression and how its series are named in the legend."""

    expr: str
    legend: str


@dataclass(frozen=True)
class Panel:
    """One panel. `unit` is Grafana's id of a unit; `limits` are where orange and red begin.

    `states` names the values of a metric that is an enumeration: value -> (word, colour).
    """

    title: str
    description: str
    unit: str
    queries: tuple[Query, ...]
    kind: Kind = "timeseries"
    limits: tuple[float, float] | None = None
    maximum: float | None = None
    states: Mapping[int, tuple[str, str]] | None = None
    width: int = 8


@dataclass(frozen=True)
class Row:
    """A heading and the panels under it."""

    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Dashboard:
    """A dashboard; `uid` is also the stem of its file."""

    uid: str
    title: str
    description: str
    tags: tuple[str, ...]
    rows: tuple[Row, ...]


def build_dashboard(spec: Dashboard) -> Any:
    """The dashboard in Grafana's classic schema; panels are numbered in reading order."""
    built = (
        builders.Dashboard(spec.title)
        .uid(spec.uid)
        .description(spec.description)
        .tags(list(spec.tags))
        .readonly()
        .time("now-15m", "now")
        .refresh("5s")
        .timezone("utc")
        .tooltip(dashboard.DashboardCursorSync.CROSSHAIR)
        .with_variable(builders.DatasourceVariable(DATASOURCE_VARIABLE).label("Data source").type("prometheus"))
    )
    number = 0
    for row in spec.rows:
        number += 1
        built.with_row(builders.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            built.with_panel(build_panel(panel, number))
    return built.build()


def build_panel(spec: Panel, number: int) -> Any:
    """The builder of one panel."""
    panel = (
        _BUILDERS[spec.kind]()
        .id(number)
        .title(spec.title)
        .description(spec.description)
        .unit(spec.unit)
        .datasource(_DATASOURCE)
        .height(8)
        .span(spec.width)
        .min(0)
    )
    for letter, query in zip("ABCDEFGH", spec.queries, strict=False):
        target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(letter)
        panel.with_target(target.datasource(_DATASOURCE).range())
    if spec.maximum is not None:
        panel.max(spec.maximum)
    if spec.states is not None:
        panel.mappings([_build_mapping(spec.states)])
    panel.thresholds(_build_thresholds(spec.limits))
    if spec.kind in ("gauge", "stat"):
        panel.reduce_options(common_builders.ReduceDataOptions().calcs(["lastNotNull"]))
    if spec.kind == "timeseries":
        _style_lines(panel, has_limits=spec.limits is not None)
    return panel


def _build_thresholds(limits: tuple[float, float] | None) -> Any:
    starts = (None, *(limits or ()))
    steps = [dashboard.Threshold(color=colour, value=start) for colour, start in zip(_COLOURS, starts, strict=False)]
    return builders.ThresholdsConfig().mode(dashboard.ThresholdsMode.ABSOLUTE).steps(steps)


def _build_mapping(states: Mapping[int, tuple[str, str]]) -> Any:
    return dashboard.ValueMap(
        options={
            str(value): dashboard.ValueMappingResult(text=word, color=colour, index=index)
            for index, (value, (word, colour)) in enumerate(sorted(states.items()))
        }
    )


def _style_lines(panel: Any, *, has_limits: bool) -> None:
    legend = common_builders.VizLegendOptions().show_legend(True).calcs(["max", "lastNotNull"])
    panel.legend(legend.display_mode(common.LegendDisplayMode.TABLE).placement(common.LegendPlacement.BOTTOM))
    tooltip = common_builders.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    panel.tooltip(tooltip.sort(common.SortOrder.DESCENDING))
    panel.fill_opacity(8).line_width(1).show_points(common.VisibilityMode.NEVER)
    if has_limits:
        style = common_builders.GraphThresholdsStyleConfig().mode(common.GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(style)
