"""The kinds of panel. Each says what to conclude and has a unit, a legend, limits and its runbook."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    heatmap,
    prometheus,
    stat,
    statetimeline,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import (
    BigValueColorMode,
    BigValueGraphMode,
    BigValueTextMode,
    GraphThresholdsStyleMode,
    LegendDisplayMode,
    LegendPlacement,
    ScaleDistribution,
    SortOrder,
    StackingMode,
    TooltipDisplayMode,
    VisibilityMode,
)
from grafana_foundation_sdk.models.dashboard import (
    DashboardLinkType,
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from monitoring.grafana.alerts import Alert

DATASOURCE = DataSourceRef("prometheus", "${datasource}")
WIDTH, HEIGHT = 8, 8
"""Of the 24 columns, and in rows of the grid."""
GREEN, YELLOW, ORANGE, RED, GREY = "green", "yellow", "orange", "red", "text"

Limits = Sequence[tuple[float | None, str]]
"""The colour from each value on, the first without one."""
NO_LIMITS: Limits = ((None, GREEN),)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked, and what each series is called."""

    expr: str
    legend: str
    exemplars: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """A value with a name."""

    text: str
    color: str


OK_OR_NOT: Mapping[str, State] = {"1": State("yes", GREEN), "0": State("no", RED)}


def bad_above(limit: float, *, near: float | None = None) -> Limits:
    """Red from the limit on, orange from `near` on."""
    warning = [(near, ORANGE)] if near is not None else []
    return [(None, GREEN), *warning, (limit, RED)]


def bad_below(limit: float) -> Limits:
    """Red until the limit is reached."""
    return [(None, RED), (limit, GREEN)]


Panel = TypeVar("Panel", timeseries.Panel, stat.Panel, statetimeline.Panel, table.Panel, heatmap.Panel)


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = WIDTH,
    limits: Limits | None = None,
    alert: Alert | None = None,
    stacked: bool = False,
    top: float | None = None,
    orders_of_magnitude: bool = False,
) -> timeseries.Panel:
    """Values over time. The limits, by default the alert's threshold, are dashed lines."""
    if limits is None and alert and alert.threshold:
        limits = bad_above(alert.threshold)
    panel = timeseries.Panel().legend(_legend()).tooltip(_tooltip())
    panel = _describe(panel, title, description, queries, unit, width, limits or NO_LIMITS, alert)
    panel.line_width(1).fill_opacity(25 if stacked else 8).show_points(VisibilityMode.NEVER)
    panel.color_scheme(dashboard.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
    panel.axis_soft_min(0)
    if limits:
        style = common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED)
        panel.thresholds_style(style)
    if stacked:
        panel.stacking(common.StackingConfig().mode(StackingMode.NORMAL).group("A"))
    if top is not None:
        panel.axis_soft_max(top)
    if orders_of_magnitude:
        scale = common.ScaleDistributionConfig().type(ScaleDistribution.SYMLOG)
        panel.scale_distribution(scale.log(10).linear_threshold(1))
    return panel


def number(
    title: str,
    description: str,
    *queries: Query,
    unit: str,
    width: int = 4,
    limits: Limits = NO_LIMITS,
    alert: Alert | None = None,
    decimals: int | None = None,
    nothing: str = "no data",
) -> stat.Panel:
    """The latest values, large; `nothing` is said when there is none."""
    panel = stat.Panel().color_mode(BigValueColorMode.BACKGROUND).graph_mode(BigValueGraphMode.AREA)
    panel.text_mode(BigValueTextMode.VALUE_AND_NAME if len(queries) > 1 else BigValueTextMode.AUTO)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    panel = _describe(panel, title, description, queries, unit, width, limits, alert)
    panel.height(5).no_value(nothing)
    if decimals is not None:
        panel.decimals(decimals)
    return panel


def states(
    title: str,
    description: str,
    *queries: Query,
    width: int = WIDTH,
    names: Mapping[str, State] = OK_OR_NOT,
    alert: Alert | None = None,
) -> statetimeline.Panel:
    """Which state each series was in, over time."""
    panel = statetimeline.Panel().show_value(VisibilityMode.NEVER).legend(_legend()).tooltip(_tooltip())
    panel = _describe(panel, title, description, queries, "bool_yes_no", width, NO_LIMITS, alert)
    return panel.mappings([_named(names)])


def distribution(
    title: str, description: str, query: Query, *, unit: str, width: int = WIDTH
) -> heatmap.Panel:
    """The buckets of a histogram over time."""
    colours = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Blues").steps(32)
    panel = heatmap.Panel().color(colours).y_axis(heatmap.YAxisConfig().unit(unit))
    panel = _describe(panel, title, description, (), unit, width, NO_LIMITS, None)
    return panel.with_target(_target(query, "A").format(PromQueryFormat.HEATMAP))


def listing(
    title: str,
    description: str,
    query: Query,
    *,
    columns: Mapping[str, str],
    width: int = WIDTH,
    names: Mapping[str, State] | None = None,
    link: tuple[str, str] | None = None,
    alert: Alert | None = None,
    nothing: str = "none",
) -> table.Panel:
    """The series as they are now, with labels for columns.

    Args:
        title: the panel's.
        description: what to conclude.
        query: what is asked.
        columns: the label or `Value` of each column, and its heading, in order.
        width: of 24.
        names: what values are called.
        link: a column's heading, and the address that its cells lead to.
        alert: whose runbook the panel links to.
        nothing: what is said when there is no series.
    """
    panel = _describe(table.Panel(), title, description, (), "none", width, NO_LIMITS, alert)
    panel.with_target(_target(query, "A").instant().format(PromQueryFormat.TABLE)).no_value(nothing)
    order = {label: place for place, label in enumerate(columns)}
    panel.with_transformation(
        DataTransformerConfig(id_val="filterFieldsByName", options={"include": {"names": list(columns)}})
    )
    panel.with_transformation(
        DataTransformerConfig(
            id_val="organize", options={"indexByName": order, "renameByName": dict(columns)}
        )
    )
    if names:
        panel.mappings([_named(names)])
    if link:
        heading, url = link
        opened = {"title": "Runbook", "url": url, "targetBlank": True}
        panel.override_by_name(heading, [DynamicConfigValue("links", [opened])])
    return panel


def _describe(
    panel: Panel,
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    width: int,
    limits: Limits,
    alert: Alert | None,
) -> Panel:
    panel.title(title).description(description).datasource(DATASOURCE).unit(unit).span(width).height(HEIGHT)
    steps = [Threshold(value, color) for value, color in limits]
    panel.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    for query, ref in zip(queries, "ABCDEFGH", strict=False):
        panel.with_target(_target(query, ref).range())
    if alert:
        runbook = dashboard.DashboardLink(f"Runbook: {alert.name}").type(DashboardLinkType.LINK)
        panel.links([runbook.url(alert.runbook_url).target_blank(True)])
    return panel


def _target(query: Query, ref: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).legend_format(query.legend).ref_id(ref)
    target.datasource(DATASOURCE)
    return target.exemplar(True) if query.exemplars else target


def _named(names: Mapping[str, State]) -> ValueMap:
    return ValueMap(
        {
            value: ValueMappingResult(text=state.text, color=state.color, index=place)
            for place, (value, state) in enumerate(names.items())
        }
    )


def _legend() -> common.VizLegendOptions:
    legend = common.VizLegendOptions().show_legend(True)
    return legend.display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM)


def _tooltip() -> common.VizTooltipOptions:
    return common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING)
