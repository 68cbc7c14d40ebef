"""promtool's test format: input series that change their growth, and the file around the tests."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from monitoring.slo import JOB, Slo, promql

Test = dict[str, Any]
Phase = tuple[float, float, float]
"""A number of steps, and how many good and how many bad requests come in each."""

START = 1_000_000_000


def test_file(tests: list[Test], evaluation: timedelta) -> dict[str, Any]:
    """A test file for `rules/slo.yaml`."""
    return {"rule_files": ["../rules/slo.yaml"], "evaluation_interval": promql(evaluation), "tests": tests}


def counter(name: str, growth: Sequence[tuple[float, float]], **labels: str) -> dict[str, str]:
    """A counter that grows by so much a step for so many steps, then by something else.

    It starts at a value other than 0: at 0, `rate` would take it that the counter has just been born.
    """
    total, values = float(START), str(START)
    for steps, step in growth:
        count = round(steps)
        values += f" {total + step:.6f}+{step:.6f}x{count - 1}"
        total += step * count
    return {"series": selector(name, **labels), "values": values}


def selector(name: str, **labels: str) -> str:
    """The series as PromQL writes it."""
    matchers = ",".join(f'{label}="{value}"' for label, value in labels.items())
    return f"{name}{{{matchers}}}"


def target(job: str, value: int = 1) -> dict[str, str]:
    """The job's `up`."""
    return {"series": selector("up", job=job, instance="a"), "values": f"{value}+0x100000"}


def requests(job: str, method: str, status: str, growth: Sequence[tuple[float, float]]) -> dict[str, str]:
    """HTTP requests counted by the server."""
    return counter(
        "http_server_request_duration_seconds_count",
        growth,
        job=job,
        http_request_method=method,
        http_response_status_code=status,
    )


def answered(job: str, growth: Sequence[tuple[float, float]], le: str | None = None) -> dict[str, str]:
    """Answered inference requests: all of them, or those within `le` seconds."""
    name = "inference_request_duration_seconds"
    if le is None:
        return counter(f"{name}_count", growth, job=job)
    return counter(f"{name}_bucket", growth, job=job, le=le)


def input_series(slo: Slo, objective: str, phases: Sequence[Phase]) -> list[dict[str, str]]:
    """The service's series with so many good and bad requests, as the objective sees good and bad."""
    good = [(steps, good) for steps, good, _ in phases]
    if objective == "latency":
        every = [(steps, good + bad) for steps, good, bad in phases]
        return [answered(JOB, every), answered(JOB, good, slo.objectives.latency.le)]
    half_of_bad = [(steps, bad / 2) for steps, _, bad in phases]
    return [
        requests(JOB, "POST", "200", good),
        requests(JOB, "POST", "429", half_of_bad),
        requests(JOB, "POST", "503", half_of_bad),
    ]
