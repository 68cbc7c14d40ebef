"""Prometheus: is it there, does it scrape the service, and do its rules work?"""

from datetime import datetime
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel

from app.doctor.scope import Scope
from app.doctor.walk import Broken, Ok, Result, Skipped
from app.doctor.web import NoAnswerError, ask

NO_PROMETHEUS = Skipped("no Prometheus is asked for: --prometheus-url names one")
UNREACHABLE = "See that Prometheus runs, and that a port-forward or NetworkPolicy leads to its port, 9090."
JOB = "vitrine"
"""What the rules call the service."""
WATCHDOG = "Watchdog"
"""The alert that always fires."""

Data = TypeVar("Data", bound=BaseModel)


class Answer(BaseModel, Generic[Data]):
    """What all of https://prometheus.io/docs/prometheus/latest/querying/api/ is wrapped in."""

    status: Literal["success"]
    data: Data


class Runtime(BaseModel):
    """Of `status/runtimeinfo`."""

    startTime: datetime
    reloadConfigSuccess: bool
    lastConfigTime: datetime


class Target(BaseModel):
    """Something that is scraped."""

    labels: dict[str, str]
    scrapeUrl: str
    lastError: str
    health: Literal["up", "down", "unknown"]


class Targets(BaseModel):
    """Of `targets`."""

    activeTargets: list[Target]


class Rule(BaseModel):
    """A rule, and how its last evaluation went."""

    name: str
    health: Literal["ok", "err", "unknown"]
    lastError: str = ""


class Group(BaseModel):
    """A group of rules."""

    rules: list[Rule]


class Rules(BaseModel):
    """Of `rules`."""

    groups: list[Group]


def look_prometheus(scope: Scope) -> Result:
    """Is it there, on the configuration that it was given last?"""
    if scope.prometheus is None:
        return NO_PROMETHEUS
    try:
        runtime = read_runtime(scope.prometheus.url)
    except NoAnswerError as error:
        return scope.prometheus.missed(error, UNREACHABLE)
    if not runtime.reloadConfigSuccess:
        return Broken(
            (f"it runs on the configuration of {runtime.lastConfigTime:%F %T %Z}: a newer one did not load",),
            "Its log names the line; `promtool check config` says the same. Runbook ConfigReloadFailed.",
        )
    return Ok((f"it answers at {scope.prometheus.url}, on its newest configuration",))


def read_runtime(url: str) -> Runtime:
    """How it runs. Raises `NoAnswerError`."""
    return ask(url, "/api/v1/status/runtimeinfo", Answer[Runtime]).data


def look_targets(scope: Scope) -> Result:
    """Does it scrape the service, and all that it means to?"""
    if scope.prometheus is None:
        return NO_PROMETHEUS
    try:
        return judge_targets(ask(scope.prometheus.url, "/api/v1/targets", Answer[Targets]).data.activeTargets)
    except NoAnswerError as error:
        return Broken((str(error),), UNREACHABLE)


def judge_targets(targets: list[Target]) -> Result:
    """What the targets' states mean. One that has yet to be scraped for the first time is no finding."""
    if not any(target.labels.get("job") == JOB for target in targets):
        jobs = sorted({target.labels.get("job", "") for target in targets})
        return Broken(
            (f"no target has the job {JOB}; there are: {', '.join(jobs) or 'none'}",),
            "Discovery finds pods by the port named ops: compare prometheus.yml with the pods' ports and "
            "namespace. Runbook TargetAbsent.",
        )
    down = [target for target in targets if target.health == "down"]
    if down:
        return Broken(
            tuple(f"{target.labels.get('job')}: {target.scrapeUrl}: {target.lastError}" for target in down),
            "Open it from where Prometheus runs. Refused: nobody listens there, or only on 127.0.0.1 "
            "(APP_OPS_HOST). Deadline exceeded: a NetworkPolicy. Runbooks TargetDown, MonitoringTargetDown.",
        )
    up = sum(target.health == "up" for target in targets)
    return Ok((f"{up} of {len(targets)} targets are up" + (", the others new" if up < len(targets) else ""),))


def look_rules(scope: Scope) -> Result:
    """Are the rules loaded, and does each evaluate?"""
    if scope.prometheus is None:
        return NO_PROMETHEUS
    try:
        return judge_rules(read_rules(scope.prometheus.url))
    except NoAnswerError as error:
        return Broken((str(error),), UNREACHABLE)


def read_rules(url: str) -> list[Rule]:
    """All rules of all groups. Raises `NoAnswerError`."""
    return [rule for group in ask(url, "/api/v1/rules", Answer[Rules]).data.groups for rule in group.rules]


def judge_rules(rules: list[Rule]) -> Result:
    """What the rules' states mean."""
    if not any(rule.name == WATCHDOG for rule in rules):
        return Broken(
            (f"{len(rules)} rules are loaded, and no {WATCHDOG} among them",),
            "The rules of monitoring/prometheus/rules are not what it has loaded: see rule_files in its "
            "configuration, and that the folder is mounted there.",
        )
    if failing := [rule for rule in rules if rule.health == "err"]:
        return Broken(
            tuple(f"{rule.name}: {rule.lastError}" for rule in failing),
            "Correct the expression, check it with `promtool check rules`. Runbook PrometheusRuleFailures.",
        )
    waiting = sum(rule.health == "unknown" for rule in rules)
    return Ok((f"{len(rules)} rules are loaded" + (f", {waiting} yet to be evaluated" if waiting else ""),))
