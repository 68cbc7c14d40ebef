"""The recording rules and burn-rate alerts that follow from the objectives.

The method is that of the SRE workbook's chapter "Alerting on SLOs": an alert for each speed at which the
error budget burns, each over a long window and a short one.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

from monitoring.slo import JOB, BurnRate, Slo, promql, seconds

Rule = dict[str, Any]

OBJECTIVES = ("availability", "latency")
SHORTEST = timedelta(minutes=5)
INTERVAL = timedelta(seconds=30)

# What a user saw, so that a crash ahead of the inference layer counts too. All inference routes are POSTs and
# nothing else is. A refusal for overload (429) is ours; any other 4xx is the caller's own error and left out
# altogether: it can neither spoil the ratio nor dilute real failures.
REQUESTS = (
    "http_server_request_duration_seconds_count"
    f'{{job="{JOB}",http_request_method="POST",http_response_status_code=~"%s"}}'
)

FIRST_STEP = {
    "availability": (
        "See whether TargetDown, ModelNotReady, WorkerStalled or RequestsShed fires and start there; "
        "otherwise find the failing status and route with the runbook's first query."
    ),
    "latency": (
        "Find the slow stage with the runbook's first query: queue means too little capacity, compute means "
        "large batches or throttling, tokenize or respond means a starved CPU."
    ),
}


def alert_name(objective: str) -> str:
    """The alert on the objective's budget."""
    return f"{objective.capitalize()}BudgetBurn"


def windows(slo: Slo) -> list[timedelta]:
    """Every window that an alert needs, shortest first; 5m is always there, for the current burn rate."""
    return sorted({SHORTEST} | {w for rate in slo.burn_rates for w in (rate.window, rate.short_window)})


def groups(slo: Slo) -> list[dict[str, Any]]:
    """The rule groups of `rules/slo.yaml`."""
    interval = max(slo.scaled(INTERVAL), timedelta(seconds=1))
    rules = _constants(slo)
    for window in windows(slo):
        rules += _ratios(slo, window)
    rules += _budget(slo)
    for objective in OBJECTIVES:
        rules += burn_alerts(slo, objective)
    rules.append(traffic_too_low(slo))
    # One group, since only within a group is a rule sure to see what the rules above it have just recorded.
    return [{"name": "slo", "interval": promql(interval), "rules": rules}]


def _constants(slo: Slo) -> list[Rule]:
    budgets = [(f"vector({slo.budget(objective)})", objective) for objective in OBJECTIVES]
    return [
        *(_record("slo:error_budget:ratio", budget, objective) for budget, objective in budgets),
        _record("slo:allowed_wait:seconds", f"vector({_number(seconds(slo.allowed_wait))})"),
    ]


def _ratios(slo: Slo, window: timedelta) -> list[Rule]:
    """Events, bad events and their ratio over the window; the names carry the window before scaling."""
    name, span = promql(window), promql(slo.scaled(window))
    # No request at all is 0 events and no ratio: neither NaN, nor 100 % available, nor 100 % failed.
    none_yet = f'or 0 * max by (job) (up{{job="{JOB}"}})'
    requests = f"sum by (job) (rate({REQUESTS % '2..|429|5..'}[{span}]))"
    failed = f"sum by (job) (rate({REQUESTS % '429|5..'}[{span}]))"
    answered = f'sum by (job) (rate(inference_request_duration_seconds_count{{job="{JOB}"}}[{span}]))'
    le = slo.objectives.latency.le
    late = (
        f'slo:sli_events:rate{name}{{slo="latency"}} - on (job) '
        f'sum by (job) (rate(inference_request_duration_seconds_bucket{{le="{le}"}}[{span}]))'
    )
    return [
        _record(f"slo:sli_events:rate{name}", f"{requests}\n{none_yet}", "availability"),
        _record(f"slo:sli_bad_events:rate{name}", f"{failed}\n{none_yet}", "availability"),
        _record(f"slo:sli_events:rate{name}", f"{answered}\n{none_yet}", "latency"),
        _record(f"slo:sli_bad_events:rate{name}", f"{late}\n{none_yet}", "latency"),
        _record(
            f"slo:sli_error:ratio_rate{name}",
            f"slo:sli_bad_events:rate{name} / (slo:sli_events:rate{name} > 0)",
        ),
    ]


def _budget(slo: Slo) -> list[Rule]:
    whole, span = promql(slo.window), promql(slo.scaled(slo.window))
    recorded = promql(SHORTEST)
    spent = f"sum_over_time(slo:sli_bad_events:rate{recorded}[{span}])"
    allowed = f"(sum_over_time(slo:sli_events:rate{recorded}[{span}]) > 0)"
    budget = "on (slo) group_left () slo:error_budget:ratio"
    rules = [
        # Sums of recorded rates, so that the whole period is weighed by traffic and costs two series to read
        _record(f"slo:sli_error:ratio_rate{whole}", f"{spent} / {allowed}"),
        _record("slo:error_budget:remaining_ratio", f"1 - slo:sli_error:ratio_rate{whole} / {budget}"),
    ]
    for window in (SHORTEST, min(rate.window for rate in slo.burn_rates)):
        name = promql(window)
        rules.append(
            _record(f"slo:error_budget:burn_rate{name}", f"slo:sli_error:ratio_rate{name} / {budget}")
        )
    return rules


def burn_alerts(slo: Slo, objective: str) -> list[Rule]:
    """One alert for each speed at which the objective's budget may burn."""
    budget = slo.budget(objective)
    name = alert_name(objective)
    return [
        {
            "alert": name,
            "expr": _burning(slo, objective, rate),
            "for": promql(slo.scaled(rate.pending)),
            "labels": {"severity": rate.severity, "team": "serving", "window": promql(rate.window)},
            "annotations": {
                "summary": f"Vitrine burns its {objective} budget at over {rate.factor}x the allowed rate",
                "description": (
                    "{{ $value | humanizePercentage }} of the requests in the last "
                    f"{promql(slo.scaled(rate.window))} {_what_is_bad(slo, objective)}; the objective allows "
                    f"{_number(100 * budget)}%. At {rate.factor}x that, the {promql(slo.scaled(slo.window))} "
                    f"error budget lasts {_lasts(slo, rate)}. {FIRST_STEP[objective]}"
                ),
                "runbook_url": slo.runbook_url(name),
            },
        }
        for rate in slo.burn_rates
    ]


def _burning(slo: Slo, objective: str, rate: BurnRate) -> str:
    long, short = promql(rate.window), promql(rate.short_window)
    threshold = f"{rate.factor} * {slo.budget(objective)}"
    in_window = _number(seconds(slo.scaled(rate.window)))
    # The later operands need no `slo` matcher: `and` pairs series whose labels are all equal.
    return (
        f'slo:sli_error:ratio_rate{long}{{slo="{objective}"}} > {threshold}\n'
        f"and slo:sli_error:ratio_rate{short} > {threshold}\n"
        f"and {in_window} * slo:sli_bad_events:rate{long} >= {slo.minimum_bad_requests}"
    )


def _what_is_bad(slo: Slo, objective: str) -> str:
    if objective == "availability":
        return "failed (5xx) or were refused for overload (429)"
    return f"took longer than {promql(slo.objectives.latency.threshold)}"


def _lasts(slo: Slo, rate: BurnRate) -> str:
    duration = slo.scaled(slo.window) / float(rate.factor)
    return promql(timedelta(seconds=round(duration.total_seconds())))


def traffic_too_low(slo: Slo) -> Rule:
    """The alert that says when the burn-rate alerts cannot judge."""
    shortest = min(rate.window for rate in slo.burn_rates)
    scaled = slo.scaled(shortest)
    return {
        "alert": "SloTrafficTooLow",
        "expr": (
            f"{_number(seconds(scaled))} * "
            f'slo:sli_events:rate{promql(shortest)}{{slo="availability"}} < {slo.minimum_bad_requests}'
        ),
        "for": promql(scaled),
        "labels": {"severity": "info", "team": "serving"},
        "annotations": {
            "summary": "Too little traffic to judge Vitrine's objectives",
            "description": (
                f"{{{{ $value | humanize }}}} requests in the last {promql(scaled)}; no burn-rate alert can "
                f"fire below {slo.minimum_bad_requests}, even if every one of them fails. Silence proves "
                "nothing now: send a request by hand, and find out whether callers are expected at this hour."
            ),
            "runbook_url": slo.runbook_url("SloTrafficTooLow"),
        },
    }


def _record(name: str, expr: str, slo: str | None = None) -> Rule:
    rule: Rule = {"record": name, "expr": expr}
    if slo:
        rule["labels"] = {"slo": slo}
    return rule


def _number(value: Decimal) -> str:
    return f"{value.normalize():f}"
