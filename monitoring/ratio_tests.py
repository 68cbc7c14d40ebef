"""The tests of the objectives' recording rules: generated too, so that they follow the objectives."""

from datetime import timedelta
from math import floor
from typing import Any

from monitoring import burn_rules
from monitoring.promtool import answered, input_series, requests, target, test_file
from monitoring.slo import JOB, Slo, promql, seconds


def files(slo: Slo) -> dict[str, dict[str, Any]]:
    """Test files by name."""
    return {
        "slo_ratios_test.yaml": _ratios(slo),
        "slo_budget_test.yaml": _budget(slo),
        "slo_no_traffic_test.yaml": _no_traffic(slo),
    }


def _step(slo: Slo) -> timedelta:
    return slo.scaled(burn_rules.SHORTEST) / 5


def _ratios(slo: Slo) -> dict[str, Any]:
    """Bad requests in the last two steps alone give each window a ratio of its own."""
    step = _step(slo)
    steps = round(slo.scaled(max(burn_rules.windows(slo))) / step * 4 / 3)
    at = step * steps + step / 2  # no sample on the edge of a window
    good, bad = 40.0, 300.0
    phases = [(steps - 2, good, 0.0), (2, good, bad)]
    alike = [(steps, good)]
    le = slo.objectives.latency.le
    series = [
        target(JOB),
        *input_series(slo, "availability", phases),
        *input_series(slo, "latency", phases),
        # None of these counts
        requests(JOB, "POST", "422", alike),
        requests(JOB, "GET", "500", alike),
        answered(JOB, alike, "0.0001"),
        target("other"),
        requests("other", "POST", "200", alike),
        requests("other", "POST", "500", alike),
        answered("other", alike),
        answered("other", alike, le),
    ]
    checks = []
    for window in burn_rules.windows(slo):
        # A window of n steps holds n samples and so n - 1 increments
        increments = round(slo.scaled(window) / step) - 1
        span = float(seconds(step)) * increments
        bad_rate, rate = 2 * bad / span, (2 * bad + good * increments) / span
        checks += [
            _expects(slo, f"slo:sli_events:rate{promql(window)}", rate, at),
            _expects(slo, f"slo:sli_bad_events:rate{promql(window)}", bad_rate, at),
            _expects(slo, f"slo:sli_error:ratio_rate{promql(window)}", bad_rate / rate, at),
        ]
    test = {
        "name": "each window's ratio, and what does not count",
        "interval": promql(step),
        "input_series": series,
        "promql_expr_test": checks,
    }
    return test_file([test], at)


def _budget(slo: Slo) -> dict[str, Any]:
    """What is left of the budget is weighed by traffic, over the whole window and nothing before it."""
    step = _step(slo)
    # 102.8 evaluations in the window, so that none is on its edge, and none at the instant of a sample
    evaluation = slo.scaled(slo.window) * 7 / 720 + step / 10
    each = evaluation / step
    # Evaluations, traffic, and how fast the budget burns: before the window, in it, later, at the very end
    end = 10 / each  # ten steps
    history = [(34.5, 1, 5.0), (72, 1, 0.5), (30.5 - end, 3, 0.8), (end, 9, 2.0)]
    series = [target(JOB)]
    for objective in burn_rules.OBJECTIVES:
        budget = float(slo.budget(objective))
        phases = [
            (count * each, 1e5 * traffic * (1 - burn * budget), 1e5 * traffic * burn * budget)
            for count, traffic, burn in history
        ]
        series += input_series(slo, objective, phases)
    at = evaluation * 137
    left = 1 - (72 * 0.5 + 30 * 3 * 0.8 + 9 * 2.0) / (72 + 30 * 3 + 9)
    # The window of the fastest alert sees the ten steps and some before them
    shortest = min(rate.window for rate in slo.burn_rates)
    other = round(slo.scaled(shortest) / step) - 1 - 10
    burn = (other * 3 * 0.8 + 10 * 9 * 2.0) / (other * 3 + 10 * 9)
    test = {
        "name": "the budget that is left, and how fast it burns",
        "interval": promql(step),
        "input_series": series,
        "promql_expr_test": [
            _expects(slo, "slo:error_budget:remaining_ratio", left, at),
            _expects(slo, f"slo:error_budget:burn_rate{promql(burn_rules.SHORTEST)}", 2.0, at),
            _expects(slo, f"slo:error_budget:burn_rate{promql(shortest)}", burn, at),
        ],
    }
    return test_file([test], evaluation)


def _no_traffic(slo: Slo) -> dict[str, Any]:
    """Neither silence nor a dead target looks like 100 % available; nor is it a NaN, nor a failure."""
    step = _step(slo)
    ratios = ("slo:sli_error:ratio_rate5m", "slo:error_budget:burn_rate5m")
    nothing = [
        {"expr": ratio, "eval_time": promql(step * 60), "exp_samples": []}
        for ratio in (*ratios, "slo:error_budget:remaining_ratio")
    ]
    silent = {
        "name": "a service without requests has events but no ratio",
        "interval": promql(step),
        "input_series": [target(JOB)],
        "promql_expr_test": [*nothing, _expects(slo, "slo:sli_events:rate5m", 0, step * 60)],
    }
    healthy = [(30, 100.0)]
    gone = {
        "name": "a service that went down has no ratio",
        "interval": promql(step),
        "input_series": [
            {"series": target(JOB)["series"], "values": "1+0x30 0+0x100"},
            requests(JOB, "POST", "200", healthy),
            answered(JOB, healthy),
            answered(JOB, healthy, slo.objectives.latency.le),
        ],
        "promql_expr_test": nothing[:2],
    }
    return test_file([silent, gone], step)


def _expects(slo: Slo, record: str, value: float, at: timedelta) -> dict[str, Any]:
    """Both objectives have the value, rounded as PromQL's `round` does."""
    return {
        "expr": f"round({record}, 0.0001)",
        "eval_time": promql(at),
        "exp_samples": [
            {"labels": f'{{job="{JOB}",slo="{objective}"}}', "value": floor(value * 10_000 + 0.5) / 10_000}
            for objective in burn_rules.OBJECTIVES
        ],
    }
