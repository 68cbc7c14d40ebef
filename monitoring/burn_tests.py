"""The tests of the burn-rate alerts: generated too, so that they follow the objectives.

They run in steps of which 8 4/7 make a short window and 102 6/7 a long one, so that no sample lies on the
edge of a window, where Prometheus 2 (closed ranges) and 3 (left-open ranges) would differ.
"""

from datetime import timedelta
from math import floor
from typing import Any

from monitoring import burn_rules
from monitoring.promtool import Phase, Test, input_series, selector, target, test_file
from monitoring.slo import JOB, BurnRate, Slo, promql

SHORT = 60 / 7
LONG = 12 * SHORT


def files(slo: Slo) -> dict[str, dict[str, Any]]:
    """Test files by name: one for each alert, and one for the alert that says when they cannot judge."""
    made = {"slo_traffic_test.yaml": _timed([_too_little_traffic(slo)], _step(slo, _fastest(slo)))}
    for objective in burn_rules.OBJECTIVES:
        for rate in slo.burn_rates:
            tests = [test(slo, objective, rate) for test in (_onset, _recovery, _few_requests)]
            tests.append(_only_the_other_is_bad(slo, objective))
            if rate is _fastest(slo):
                tests.append(_texts(slo, objective))
            made[f"slo_{objective}_{promql(rate.window)}_test.yaml"] = _timed(tests, _step(slo, rate))
    return made


def _fastest(slo: Slo) -> BurnRate:
    return min(slo.burn_rates, key=lambda rate: rate.window)


def _step(slo: Slo, rate: BurnRate) -> timedelta:
    return timedelta(milliseconds=round(slo.scaled(rate.short_window) / SHORT / timedelta(milliseconds=1)))


def _timed(tests: list[Test], step: timedelta) -> dict[str, Any]:
    """The test file, its times turned from steps into durations."""
    for test in tests:
        test["interval"] = promql(step)
        for check in test.get("alert_rule_test", []) + test.get("promql_expr_test", []):
            check["eval_time"] = promql(step * floor(check["eval_time"]))
    return test_file(tests, step)


def _busy(steps: float, bad_ratio: float) -> Phase:
    """So many requests that the minimum of bad ones plays no part."""
    return steps, 1e6 * (1 - bad_ratio), 1e6 * bad_ratio


def _onset(slo: Slo, objective: str, rate: BurnRate) -> Test:
    """After long health the budget burns: the long window decides when the alert begins."""
    threshold = float(rate.factor * slo.budget(objective))
    pending = rate.pending / rate.short_window * SHORT
    level = min(1, 2.2 * threshold)
    onset = round(LONG)
    crossed = onset + LONG * threshold / level
    return {
        "name": f"{objective}, {promql(rate.window)}: fires once the long window has burned for long enough",
        "input_series": input_series(slo, objective, [_busy(onset, 0), _busy(LONG, level)]),
        "promql_expr_test": [
            _quiet(objective, rate, crossed + 0.8 * pending),
            _fires(slo, objective, rate, crossed + pending + 3),
        ],
    }


def _recovery(slo: Slo, objective: str, rate: BurnRate) -> Test:
    """The long window burns all the time: the short window ends the alert and begins it again."""
    threshold = float(rate.factor * slo.budget(objective))
    pending = rate.pending / rate.short_window * SHORT
    burning, better = round(0.5 * LONG), round(1.5 * SHORT)
    phases = [
        _busy(burning, min(1, 3 * threshold)),
        _busy(better, 0.9 * threshold),
        _busy(1.5 * SHORT, 1.15 * threshold),
    ]
    worse_at = burning + better
    return {
        "name": f"{objective}, {promql(rate.window)}: ends and returns with the short window",
        "input_series": input_series(slo, objective, phases),
        "promql_expr_test": [
            _fires(slo, objective, rate, burning),
            _quiet(objective, rate, worse_at),
            # After 0.4 of the short window it is past the threshold again
            _quiet(objective, rate, worse_at + 0.45 * SHORT + pending),
            _fires(slo, objective, rate, worse_at + 0.4 * SHORT + pending + 4),
        ],
    }


def _few_requests(slo: Slo, objective: str, rate: BurnRate) -> Test:
    """Every request fails, but there are too few of them; then a few more."""
    minimum = slo.minimum_bad_requests
    phases = [(1.05 * LONG, 0, 0.9 * minimum / LONG), (0.65 * LONG, 0, 1.1 * minimum / LONG)]
    return {
        "name": f"{objective}, {promql(rate.window)}: fewer than {minimum} bad requests prove nothing",
        "input_series": input_series(slo, objective, phases),
        "promql_expr_test": [
            _quiet(objective, rate, 1.05 * LONG),
            # Half of the long window later there are enough
            _quiet(objective, rate, 1.45 * LONG),
            _fires(slo, objective, rate, 1.7 * LONG - 1),
        ],
    }


def _texts(slo: Slo, objective: str) -> Test:
    """Nine of ten requests are bad for so long that each alert of the objective fires."""
    steps = max(rate.pending for rate in slo.burn_rates) / _fastest(slo).short_window * SHORT + 3
    expected = [
        _alert(slo, objective, rule, humanizePercentage="90%")
        for rule in burn_rules.burn_alerts(slo, objective)
    ]
    return {
        "name": f"{objective}: labels and texts of every alert",
        "input_series": input_series(slo, objective, [_busy(steps, 0.9)]),
        "alert_rule_test": [
            {"eval_time": steps, "alertname": burn_rules.alert_name(objective), "exp_alerts": expected}
        ],
    }


def _only_the_other_is_bad(slo: Slo, objective: str) -> Test:
    (other,) = set(burn_rules.OBJECTIVES) - {objective}
    good, bad = [_busy(LONG / 2, 0)], [_busy(LONG / 2, 1)]
    alert = burn_rules.alert_name(objective)
    return {
        "name": f"{objective}: silent while only {other} is bad",
        "input_series": input_series(slo, objective, good) + input_series(slo, other, bad),
        "alert_rule_test": [{"eval_time": LONG / 2, "alertname": alert, "exp_alerts": []}],
    }


def _too_little_traffic(slo: Slo) -> Test:
    enough, too_few = 1.1 * slo.minimum_bad_requests, 0.9 * slo.minimum_bad_requests
    rule = burn_rules.traffic_too_low(slo)
    expected = _alert(slo, "availability", rule, humanize=f"{too_few:.4g}")
    phases = [(2.5 * LONG, enough / LONG, 0.0), (2.5 * LONG, too_few / LONG, 0.0)]
    return {
        "name": "too little traffic is said after a whole window of it",
        "input_series": [target(JOB), *input_series(slo, "availability", phases)],
        "alert_rule_test": [
            {"eval_time": windows * LONG, "alertname": rule["alert"], "exp_alerts": alerts}
            for windows, alerts in ((0.8, []), (2.5, []), (3.8, []), (4.5, [expected]))
        ],
    }


def _alert(slo: Slo, objective: str, rule: burn_rules.Rule, **values: str) -> dict[str, Any]:
    annotations = rule["annotations"]
    for function, value in values.items():
        annotations = {
            name: text.replace(f"{{{{ $value | {function} }}}}", value) for name, text in annotations.items()
        }
    return {
        "exp_labels": {"job": JOB, "slo": objective, **rule["labels"]},
        "exp_annotations": annotations,
    }


def _fires(slo: Slo, objective: str, rate: BurnRate, at: float) -> dict[str, Any]:
    alert = selector(
        "ALERTS",
        alertname=burn_rules.alert_name(objective),
        alertstate="firing",
        job=JOB,
        severity=rate.severity,
        slo=objective,
        team="serving",
        window=promql(rate.window),
    )
    return _quiet(objective, rate, at) | {"exp_samples": [{"labels": alert, "value": 1}]}


def _quiet(objective: str, rate: BurnRate, at: float) -> dict[str, Any]:
    alerts = selector(
        "ALERTS",
        alertname=burn_rules.alert_name(objective),
        alertstate="firing",
        window=promql(rate.window),
    )
    return {"expr": alerts, "eval_time": at, "exp_samples": []}
