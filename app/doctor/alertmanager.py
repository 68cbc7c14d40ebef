"""Alertmanager: is it there, and do Prometheus' alerts reach it?"""

from datetime import UTC, datetime, timedelta

from pydantic import BaseModel, RootModel

from app.doctor.prometheus import WATCHDOG, read_runtime
from app.doctor.scope import Scope
from app.doctor.walk import Broken, Ok, Result, Skipped
from app.doctor.web import NoAnswerError, ask, fetch
from app.telemetry.exposition import read_samples

NO_ALERTMANAGER = Skipped("no Alertmanager is asked for: --alertmanager-url names one")
UNREACHABLE = "See that Alertmanager runs, and that a port-forward or NetworkPolicy leads to its port, 9093."
PATIENCE = timedelta(seconds=90)
"""After either has started: what Prometheus sends before it knows where to, it sends again a minute later."""


class Config(BaseModel):
    """What it was given."""

    original: str


class Status(BaseModel):
    """Of `status`."""

    config: Config
    uptime: datetime
    """Since when it runs."""


class Alert(BaseModel):
    """An alert that it has been told of."""

    labels: dict[str, str]


class Alerts(RootModel[list[Alert]]):
    """Of `alerts`."""


def look_alertmanager(scope: Scope) -> Result:
    """Is it there, on the configuration that it was given last?"""
    if scope.alertmanager is None:
        return NO_ALERTMANAGER
    url = scope.alertmanager.url
    try:
        status = ask(url, "/api/v2/status", Status)
        metrics = read_samples(fetch(url, "/metrics").body.decode(errors="replace"))
    except NoAnswerError as error:
        return scope.alertmanager.missed(error, UNREACHABLE)
    except ValueError:
        return Broken((f"{url}/metrics is no metrics page",), UNREACHABLE)
    if any(value == 0 for _, value in metrics.get("alertmanager_config_last_reload_successful", ())):
        return Broken(
            ("it runs on an old configuration: a newer one did not load",),
            "Its log names the line; `amtool check-config` says the same. Runbook ConfigReloadFailed.",
        )
    return Ok((f"it answers at {url}, on its newest configuration, up since {status.uptime:%F %T %Z}",))


def look_alerts(scope: Scope) -> Result:
    """Has the alert that always fires come through?"""
    if scope.alertmanager is None:
        return NO_ALERTMANAGER
    try:
        status = ask(scope.alertmanager.url, "/api/v2/status", Status)
        alerts = ask(scope.alertmanager.url, "/api/v2/alerts", Alerts).root
        started = [read_runtime(scope.prometheus.url).startTime] if scope.prometheus else []
    except NoAnswerError as error:
        return Broken((str(error),), UNREACHABLE)
    names = [alert.labels.get("alertname", "") for alert in alerts]
    return judge_alerts(names, max([status.uptime, *started]), datetime.now(UTC))


def judge_alerts(names: list[str], up_since: datetime, now: datetime) -> Result:
    """What it means that these alerts are there."""
    if WATCHDOG in names:
        return Ok((f"{len(names)} alerts have come: {', '.join(sorted(set(names)))}",))
    if now - up_since < PATIENCE:
        return Skipped(
            f"one of the two has just started; {WATCHDOG} may take {PATIENCE.total_seconds():.0f} s"
        )
    return Broken(
        (f"{WATCHDOG}, which always fires, has not come; {len(names)} others have",),
        "See `alerting` in Prometheus' configuration, and its log for why sending fails. Runbook Watchdog.",
    )
