"""Are users happy, and if not, why? For whoever is paged, and for whoever looks for the first time."""

from collections.abc import Mapping

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.alerts import Alert
from monitoring.grafana.board import Row, board
from monitoring.grafana.panels import (
    GREEN,
    ORANGE,
    RED,
    YELLOW,
    Limits,
    Query,
    bad_above,
    bad_below,
    graph,
    listing,
    number,
)
from monitoring.grafana.queries import OF_SERVICE, quantile, rate, series, total
from monitoring.slo import Slo, promql

UID = "vitrine-overview"

DURATION = "inference_request_duration_seconds"
POSTS = (OF_SERVICE, 'http_request_method="POST"')


def dashboard(slo: Slo, alerts: Mapping[str, Alert]) -> Dashboard:
    """The first one to open."""
    return board(
        UID,
        "Overview",
        "Whether users are served, and in time; what is left of the error budgets; and where to look if not.",
        [],
        [_verdict(slo, alerts), _quality(slo, alerts), _budget(slo, alerts), _causes(slo, alerts)],
        slo,
    )


def _good(objective: str, window: str) -> str:
    bad = series(f"slo:sli_error:ratio_rate{window}", OF_SERVICE, f'slo="{objective}"')
    return f"1 - {bad}"


def _percent(slo: Slo, objective: str) -> str:
    return f"{100 * (1 - slo.budget(objective)):g} %"


def _objective(slo: Slo, objective: str) -> Limits:
    return bad_below(float(1 - slo.budget(objective)))


def _verdict(slo: Slo, alerts: Mapping[str, Alert]) -> Row:
    threshold = promql(slo.objectives.latency.threshold)
    return Row(
        "Are users happy?",
        [
            number(
                "Served",
                "Share of the last hour's requests that were answered; a failure (5xx) and a refusal for "
                f"overload (429) were not. Red is below the objective of {_percent(slo, 'availability')}: "
                "see which status under “Requests by status”.",
                Query(_good("availability", "1h"), "last hour"),
                unit=units.PercentUnit,
                limits=_objective(slo, "availability"),
                alert=alerts["AvailabilityBudgetBurn"],
                decimals=2,
                nothing="no traffic",
            ),
            number(
                "Served in time",
                f"Share of the last hour's answers that came within {threshold}. Red is below the objective "
                f"of {_percent(slo, 'latency')}: see which stage under “Slowest stage”.",
                Query(_good("latency", "1h"), "last hour"),
                unit=units.PercentUnit,
                limits=_objective(slo, "latency"),
                alert=alerts["LatencyBudgetBurn"],
                decimals=2,
                nothing="no traffic",
            ),
            number(
                "Error budget left",
                f"Of the failures that the objectives allow in {promql(slo.window)}, the share not yet used "
                "up. Below 0 % the promise is broken: reliability comes before features until it has "
                "recovered.",
                Query(series("slo:error_budget:remaining_ratio", OF_SERVICE), "{{slo}}"),
                unit=units.PercentUnit,
                limits=[(None, RED), (0, ORANGE), (0.25, GREEN)],
                decimals=1,
                nothing="no traffic",
            ),
            number(
                "Traffic",
                "Requests a second. A sudden fall to nothing is an incident too: see whether callers "
                "reach the service.",
                Query(total(rate("inference_requests_total", OF_SERVICE)), "requests"),
                unit=units.RequestsPerSecond,
                alert=alerts["SloTrafficTooLow"],
            ),
            number(
                "Ready instances",
                "Instances that would answer a request sent now. Red is none: nobody is served.",
                Query(total(series("inference_model_ready", OF_SERVICE)), "ready"),
                unit=units.Short,
                limits=bad_below(1),
                alert=alerts["ModelNotReady"],
                nothing="none seen",
            ),
            number(
                "Alerts",
                "Alerts firing now. Anything but 0 is listed below, each with the runbook that says what to "
                "do.",
                Query('count(ALERTS{alertstate="firing",severity="critical"}) or vector(0)', "critical"),
                Query('count(ALERTS{alertstate="firing",severity="warning"}) or vector(0)', "warning"),
                unit=units.Short,
                limits=bad_above(1),
            ),
        ],
    )


def _quality(slo: Slo, alerts: Mapping[str, Alert]) -> Row:
    threshold = slo.objectives.latency.threshold
    return Row(
        "How good is it?",
        [
            graph(
                "Availability",
                "Share of requests served. The dashed line is the objective. A dip at a rollout's mark came "
                "with the new version; a dip without one is overload or a fault.",
                Query(_good("availability", "5m"), "last 5 minutes"),
                Query(_good("availability", "1h"), "last hour"),
                unit=units.PercentUnit,
                width=12,
                limits=_objective(slo, "availability"),
                alert=alerts["AvailabilityBudgetBurn"],
                top=1,
            ),
            graph(
                "Latency",
                f"Time to answer. The dashed line is the {promql(threshold)} that {_percent(slo, 'latency')} "
                "of the answers must keep, so p99 belongs below it. Each point is a sampled request: click "
                "it for its trace.",
                *(
                    Query(quantile(share, DURATION, OF_SERVICE), f"p{share * 100:g}", exemplars=share == 0.99)
                    for share in (0.5, 0.95, 0.99)
                ),
                unit=units.Seconds,
                width=12,
                limits=bad_above(threshold.total_seconds()),
                alert=alerts["LatencyBudgetBurn"],
            ),
        ],
    )


def _budget(slo: Slo, alerts: Mapping[str, Alert]) -> Row:
    factors = sorted(float(rate.factor) for rate in slo.burn_rates)
    names = f"{factors[0]:g} and {factors[-1]:g}"
    burn_limits: Limits = [
        (None, GREEN),
        (factors[0], YELLOW),
        *((factor, ORANGE) for factor in factors[1:-1]),
        (factors[-1], RED),
    ]
    return Row(
        "How long can it go on like this?",
        [
            graph(
                "Budget burn",
                "How many times faster than allowed the error budget burns. At 1 it lasts exactly "
                f"{promql(slo.window)}; the alerts begin between {names} (dashed), the slower ones after "
                "hours. Short peaks are normal.",
                Query(series("slo:error_budget:burn_rate5m", OF_SERVICE), "{{slo}}, last 5 minutes"),
                Query(series("slo:error_budget:burn_rate1h", OF_SERVICE), "{{slo}}, last hour"),
                unit=units.Short,
                width=12,
                limits=burn_limits,
                alert=alerts["AvailabilityBudgetBurn"],
                orders_of_magnitude=True,
            ),
            graph(
                "Budget left",
                "The error budgets over time. A steep fall is an incident, a steady slope a fault that pages "
                "nobody and still breaks the promise by the end.",
                Query(series("slo:error_budget:remaining_ratio", OF_SERVICE), "{{slo}}"),
                unit=units.PercentUnit,
                width=12,
                limits=bad_below(0),
                top=1,
            ),
        ],
    )


def _causes(slo: Slo, alerts: Mapping[str, Alert]) -> Row:
    requests = total(rate("inference_requests_total", OF_SERVICE))
    target, threshold = slo.saturation.autoscaler_target, alerts["SaturationHigh"].threshold
    assert threshold is not None
    return Row(
        "Why not?",
        [
            graph(
                "Requests by status",
                "How requests end. 429 is overload, 503 no ready instance, 504 a deadline passed, 500 a "
                "fault of ours, and any other 4xx the caller's own error.",
                Query(
                    total(
                        rate("http_server_request_duration_seconds_count", *POSTS),
                        "http_response_status_code",
                    ),
                    "{{http_response_status_code}}",
                ),
                unit=units.RequestsPerSecond,
                stacked=True,
                alert=alerts["AvailabilityBudgetBurn"],
            ),
            graph(
                "Refused",
                "Share of the requests that were refused before any work, by reason. starting and failed: no "
                "model is there to answer. All others are overload: add instances.",
                Query(
                    f"{total(rate('inference_rejections_total', OF_SERVICE), 'reason')} "
                    f"/ on () group_left () ({requests} > 0)",
                    "{{reason}}",
                ),
                unit=units.PercentUnit,
                stacked=True,
                alert=alerts["RequestsShed"],
            ),
            graph(
                "Saturation",
                "Predicted time to finish all admitted work, divided by the wait that the objective allows "
                f"({promql(slo.allowed_wait)}). The autoscaler aims at {float(100 * target):g} %; above 100 "
                "% answers come late, far above it requests are refused. One instance far above the average: "
                "load is spread unevenly.",
                Query(f"avg({series('inference_saturation_ratio', OF_SERVICE)})", "average"),
                Query(f"max({series('inference_saturation_ratio', OF_SERVICE)})", "busiest instance"),
                unit=units.PercentUnit,
                limits=bad_above(threshold, near=float(target)),
                alert=alerts["SaturationHigh"],
            ),
            graph(
                "Slowest stage",
                "p99 of each stage. queue: too little capacity. compute: large batches, throttling, a slow "
                "device. tokenize or respond: a starved CPU. More on the dashboard Inference.",
                Query(
                    series("job_model_stage:inference_stage_duration_seconds:p99_rate5m", OF_SERVICE),
                    "{{stage}} {{model_name}}",
                ),
                unit=units.Seconds,
                width=12,
                alert=alerts["LatencyBudgetBurn"],
            ),
            listing(
                "Firing alerts",
                "What is wrong now, most of it with an owner and a runbook: click an alert's name to open "
                "its runbook.",
                Query('ALERTS{alertstate="firing",severity=~"critical|warning|info"}', "{{alertname}}"),
                columns={
                    "alertname": "Alert",
                    "severity": "Severity",
                    "team": "Team",
                    "instance": "Instance",
                    "window": "Window",
                },
                width=12,
                link=("Alert", f"{slo.runbooks}/${{__value.raw}}.md"),
                nothing="none fires",
            ),
        ],
    )
