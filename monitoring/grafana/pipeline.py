"""Can what the other dashboards show be trusted?"""

from collections.abc import Mapping

from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from monitoring.grafana.alerts import Alert
from monitoring.grafana.board import INSTANCE, NAMESPACE, Row, board
from monitoring.grafana.panels import Query, graph, states
from monitoring.grafana.queries import OF_INSTANCES, increase, rate, series, total
from monitoring.slo import Slo

UID = "vitrine-telemetry"


def dashboard(slo: Slo, alerts: Mapping[str, Alert]) -> Dashboard:
    """For whoever runs the monitoring."""
    return board(
        UID,
        "Telemetry pipeline",
        "Traces on their way out, scrapes, rules and notifications. What is choosen above filters the traces "
        "only.",
        [NAMESPACE, INSTANCE],
        [_traces(alerts), _scrapes(alerts), _rules(alerts), _notifications(alerts)],
        slo,
    )


def _traces(alerts: Mapping[str, Alert]) -> Row:
    every = total(rate("telemetry_spans_total", OF_INSTANCES), "instance")
    lost = total(rate("telemetry_spans_total", OF_INSTANCES, 'outcome!="exported"'), "instance")
    return Row(
        "Do traces arrive?",
        [
            graph(
                "Spans",
                "Sampled spans a second by what became of them. failed: the collector refused them or was "
                "away. dropped: more waited than memory is kept for. All zero: tracing is off, or nothing is "
                "sampled.",
                Query(total(rate("telemetry_spans_total", OF_INSTANCES), "outcome"), "{{outcome}}"),
                unit=units.CountsPerSecond,
                stacked=True,
                alert=alerts["TracesNotExported"],
            ),
            graph(
                "Spans lost",
                "Share of the spans that never reached the collector. Requests are not slowed by it, but "
                "traces have holes.",
                Query(f"{lost} / ({every} > 0)", "{{instance}}"),
                unit=units.PercentUnit,
                alert=alerts["TracesNotExported"],
            ),
            graph(
                "Age of the last export",
                "Seconds since the collector last took spans. Growing under traffic: it is away or "
                "unreachable.",
                Query(
                    "time() - "
                    f"{series('telemetry_span_export_last_success_timestamp_seconds', OF_INSTANCES)}",
                    "{{instance}}",
                ),
                unit=units.Seconds,
            ),
        ],
    )


def _scrapes(alerts: Mapping[str, Alert]) -> Row:
    return Row(
        "Do metrics arrive?",
        [
            states(
                "Scrapes",
                "Whether each target could be scraped. No: what it would have said is missing on all "
                "dashboards.",
                Query("up", "{{job}} {{instance}}"),
                alert=alerts["MonitoringTargetDown"],
            ),
            graph(
                "Scrape duration",
                "How long each job's slowest scrape took. Near the timeout of 10 s samples begin to be lost.",
                Query("max by (job) (scrape_duration_seconds)", "{{job}}"),
                unit=units.Seconds,
            ),
            graph(
                "Series",
                "What each job's targets expose, and what Prometheus holds in memory. A climb that follows "
                "traffic is a label without bounds.",
                Query("sum by (job) (scrape_samples_scraped)", "{{job}}"),
                Query("sum(prometheus_tsdb_head_series)", "in memory"),
                unit=units.Short,
            ),
        ],
    )


def _rules(alerts: Mapping[str, Alert]) -> Row:
    return Row(
        "Are the rules evaluated?",
        [
            graph(
                "Rule evaluations",
                "Evaluations that failed, by group. Anything above 0: its alerts cannot fire.",
                Query(
                    total(increase("prometheus_rule_evaluation_failures_total"), "rule_group"),
                    "{{rule_group}}",
                ),
                unit=units.Short,
                alert=alerts["PrometheusRuleFailures"],
            ),
            graph(
                "Rule duration",
                "How long each group takes. It must stay far below the 30 s between two evaluations.",
                Query("max by (rule_group) (prometheus_rule_group_last_duration_seconds)", "{{rule_group}}"),
                unit=units.Seconds,
            ),
            states(
                "Configuration",
                "Whether the last reload succeeded. No: the old configuration is still in force, without the "
                "change.",
                Query("prometheus_config_last_reload_successful", "Prometheus {{instance}}"),
                Query("alertmanager_config_last_reload_successful", "Alertmanager {{instance}}"),
                alert=alerts["ConfigReloadFailed"],
            ),
        ],
    )


def _notifications(alerts: Mapping[str, Alert]) -> Row:
    return Row(
        "Is anybody told?",
        [
            graph(
                "Notifications",
                "What Alertmanager sent to the receivers, and what failed on the way. Failing: nobody is "
                "paged, check the receiver's address and secret.",
                Query(total(rate("alertmanager_notifications_total"), "integration"), "{{integration}}"),
                Query(
                    total(rate("alertmanager_notifications_failed_total"), "integration"),
                    "{{integration}} failed",
                ),
                unit=units.CountsPerSecond,
                alert=alerts["AlertmanagerNotificationFailures"],
            ),
            graph(
                "Alerts handed over",
                "What Prometheus sent to each Alertmanager, and what failed. Never 0, since Watchdog always "
                "fires.",
                Query(total(rate("prometheus_notifications_sent_total"), "alertmanager"), "{{alertmanager}}"),
                Query(
                    total(rate("prometheus_notifications_errors_total"), "alertmanager"),
                    "{{alertmanager}} failed",
                ),
                unit=units.CountsPerSecond,
                alert=alerts["Watchdog"],
            ),
            graph(
                "Alerts in Alertmanager",
                "Alerts that it knows. suppressed are silenced, or inhibited by a worse one.",
                Query("sum by (state) (alertmanager_alerts)", "{{state}}"),
                unit=units.Short,
                stacked=True,
            ),
        ],
    )
