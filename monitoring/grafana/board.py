"""What the dashboards have in common: variables, annotations, links, and the numbering of panels."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models.dashboard import (
    AnnotationContainer,
    AnnotationQuery,
    Dashboard,
    DashboardCursorSync,
    DashboardLinkType,
    Panel,
    VariableOption,
    VariableRefresh,
    VariableSort,
)

from monitoring.grafana.panels import DATASOURCE
from monitoring.grafana.queries import OF_NAMESPACE, OF_SERVICE, series
from monitoring.slo import Slo

TAG = "vitrine"
PROMETHEUS_UID, JAEGER_UID = "prometheus", "jaeger"
"""Of the datasources in `provisioning/datasources`."""


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a heading that asks what they answer."""

    title: str
    panels: Sequence[Builder[Panel]]


@dataclass(frozen=True, slots=True)
class Variable:
    """What a reader can choose: the values of a label."""

    name: str
    label: str
    metric: str
    matchers: tuple[str, ...] = ()
    first: str | None = None

    def build(self) -> dashboard.QueryVariable:
        """Several can be chosen; at first `first`, or else all and what lacks the label."""
        values = f"label_values({series(self.metric, *self.matchers)}, {self.label})"
        variable = dashboard.QueryVariable(self.name).label(self.name.capitalize()).query(values)
        variable.datasource(DATASOURCE).refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        variable.sort(VariableSort.ALPHABETICAL_ASC).multi(True)
        if self.first:
            return variable.current(VariableOption(selected=True, text=self.first, value=self.first))
        variable.include_all(True).all_value(".*")
        return variable.current(VariableOption(selected=True, text="All", value="$__all"))


NAMESPACE = Variable("namespace", "namespace", "up", (OF_SERVICE,))
INSTANCE = Variable("instance", "instance", "up", (OF_SERVICE, OF_NAMESPACE))
MODEL = Variable("model", "model_name", "inference_model_ready", (OF_SERVICE, OF_NAMESPACE))
# Of the cluster's objects, all would be those of strangers too.
NAMESPACE_OF_OBJECTS = Variable("namespace", "namespace", "up", (OF_SERVICE,), first="vitrine")
POD = Variable("pod", "pod", "kube_pod_start_time", (OF_NAMESPACE,))


def board(
    uid: str, title: str, description: str, variables: Sequence[Variable], rows: Sequence[Row], slo: Slo
) -> Dashboard:
    """A dashboard, complete."""
    built = dashboard.Dashboard(f"Vitrine / {title}").uid(uid).description(description).tags([TAG])
    built.readonly().timezone("browser").time("now-1h", "now").refresh("30s")
    built.tooltip(DashboardCursorSync.CROSSHAIR)
    built.with_variable(
        dashboard.DatasourceVariable("datasource")
        .label("Data source")
        .type("prometheus")
        .current(VariableOption(selected=True, text="Prometheus", value=PROMETHEUS_UID))
    )
    for variable in variables:
        built.with_variable(variable.build())
    others = dashboard.DashboardLink("Vitrine").type(DashboardLinkType.DASHBOARDS).tags([TAG])
    built.link(others.keep_time(True).include_vars(True))
    built.link(_link("Traces", _traces_url(), "The service's traces, in Explore"))
    built.link(_link("Runbooks", f"{slo.runbooks}/README.md", "What to do about each alert"))
    for row in rows:
        built.with_row(dashboard.Row(row.title))
        for panel in row.panels:
            built.with_panel(panel)
    whole = built.build()
    whole.annotations = AnnotationContainer(MARKS)
    for number, numbered in enumerate(whole.panels or (), 1):
        numbered.id_val = number
    return whole


def _link(title: str, url: str, tooltip: str) -> dashboard.DashboardLink:
    link = dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).tooltip(tooltip)
    return link.icon("external link").target_blank(True)


def _traces_url() -> str:
    source = {"type": "jaeger", "uid": JAEGER_UID}
    query = {"refId": "A", "datasource": source, "queryType": "search", "service": "vitrine"}
    pane = {"datasource": JAEGER_UID, "queries": [query], "range": {"from": "now-1h", "to": "now"}}
    return f"/explore?schemaVersion=1&panes={quote(json.dumps({'traces': pane}, separators=(',', ':')))}"


class _Mark(AnnotationQuery):
    """Marks the times at which a query has an answer; the SDK's type leaves out the texts on the mark."""

    def __init__(self, name: str, color: str, expr: str, *, title: str, text: str) -> None:
        super().__init__(name=name, datasource=DATASOURCE, icon_color=color, expr=expr)
        self._texts = {"titleFormat": title, "textFormat": text, "step": "30s"}

    def to_json(self) -> dict[str, object]:
        return super().to_json() | self._texts


MARKS: list[AnnotationQuery] = [
    # There are pods of another version than the newest exactly while a Deployment rolls out.
    _Mark(
        "Rollouts",
        "blue",
        "kube_deployment_status_replicas_updated < kube_deployment_status_replicas",
        title="{{deployment}} rolls out",
        text="{{namespace}}",
    ),
    _Mark(
        "Alerts",
        "red",
        'ALERTS{alertstate="firing",severity=~"critical|warning"}',
        title="{{alertname}}",
        text="{{severity}} {{instance}}",
    ),
]
