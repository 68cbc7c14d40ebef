"""The objectives in `slo.yaml`: read, checked, and what can be computed from them alone."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import promql_parser
import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

SLO_FILE = Path(__file__).with_name("slo.yaml")

JOB = "vitrine"
"""The label `job` of the service's own targets."""

LATENCY_BUCKETS = tuple(
    Decimal(milliseconds) / 1000
    for milliseconds in (
        *("1", "2.5", "5", "10", "25", "50", "75", "100", "150", "200", "250", "300", "400", "500", "750"),
        *("1000", "2500", "5000", "10000"),
    )
)
"""Upper edges of `inference_request_duration_seconds`, in seconds."""

# The highest threshold must be well below 100 % of the requests, or no outage is bad enough for the alert.
HIGHEST_ERROR_RATIO = Decimal("0.8")


class InvalidSlo(ValueError):
    """`slo.yaml` says something that cannot be: one line for each wrong field, with the remedy."""


def _duration(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return promql_parser.parse_duration(str(value))
    except ValueError as error:
        raise ValueError(f"{value!r} is not a duration; write it like 250ms, 5m, 6h or 30d") from error


Duration = Annotated[timedelta, BeforeValidator(_duration)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Objective(_Strict):
    """The share of requests, in percent, that must be good."""

    percent: Annotated[Decimal, Field(gt=50, lt=100)]


class LatencyObjective(Objective):
    """The share of answered requests, in percent, that are answered within `threshold`."""

    threshold: Duration

    @field_validator("threshold")
    @classmethod
    def _is_a_bucket(cls, threshold: timedelta) -> timedelta:
        if seconds(threshold) not in LATENCY_BUCKETS:
            edges = ", ".join(f"{edge.normalize():f}s" for edge in LATENCY_BUCKETS)
            raise ValueError(f"must be a bucket of inference_request_duration_seconds: one of {edges}")
        return threshold

    @property
    def le(self) -> str:
        """The threshold as prometheus_client and Prometheus write it in the label `le`: 0.25, 1.0."""
        return str(float(seconds(self.threshold)))


class Objectives(_Strict):
    """What users are promised."""

    availability: Objective
    latency: LatencyObjective


class BurnRate(_Strict):
    """Fire when the budget burns `factor` times too fast over `window` and its last twelfth."""

    window: Duration
    factor: Annotated[Decimal, Field(ge=1)]
    pending: Annotated[Duration, Field(alias="for")]
    severity: Literal["critical", "warning"]

    @property
    def short_window(self) -> timedelta:
        """The window that ends the alert once the trouble is over."""
        return self.window / 12

    @model_validator(mode="after")
    def _fits(self) -> "BurnRate":
        if self.window < timedelta(hours=1):
            raise ValueError("window must be at least 1h, since the short window is a twelfth of it")
        if not timedelta(0) < self.pending <= self.short_window / 2:
            raise ValueError(
                "for must be more than 0 and at most half of the short window, "
                f"{promql(self.short_window / 2)}; else a recovery ends the alert before it began"
            )
        return self


class Saturation(_Strict):
    """What the autoscaler and admission measure by."""

    share_of_threshold: Annotated[Decimal, Field(gt=0, le=1)]
    autoscaler_target: Annotated[Decimal, Field(gt=0, le=1, decimal_places=3)]


class Slo(_Strict):
    """All of `slo.yaml`."""

    runbooks: Annotated[str, Field(pattern=r"^https?://\S+[^/\s]$")]
    window: Duration
    objectives: Objectives
    burn_rates: Annotated[tuple[BurnRate, ...], Field(min_length=1)]
    minimum_bad_requests: Annotated[int, Field(ge=1)]
    saturation: Saturation
    window_scale: Annotated[Decimal, Field(ge=Decimal("0.01"), le=1)]

    @model_validator(mode="after")
    def _alerts_can_fire(self) -> "Slo":
        windows = [rate.window for rate in self.burn_rates]
        if len(set(windows)) < len(windows):
            raise ValueError("burn_rates: each needs a window of its own")
        if self.window <= max(windows):
            raise ValueError(f"window: must be longer than each burn rate's, {promql(max(windows))}")
        steepest = max(rate.factor for rate in self.burn_rates)
        for objective in Objectives.model_fields:
            if steepest * self.budget(objective) > HIGHEST_ERROR_RATIO:
                lowest = 100 * (1 - HIGHEST_ERROR_RATIO / steepest)
                raise ValueError(
                    f"objectives.{objective}.percent leaves so large a budget that hardly anything burns it "
                    f"{steepest}x too fast; raise it to {lowest:.2f} or more, or lower the highest factor"
                )
        return self

    def budget(self, objective: str) -> Decimal:
        """The share of requests, 0 to 1, that may be bad: of `availability` or `latency`."""
        chosen: Objective = getattr(self.objectives, objective)
        return 1 - chosen.percent / 100

    @property
    def allowed_wait(self) -> timedelta:
        """The predicted time to finish all admitted work at which saturation is 1."""
        return self.objectives.latency.threshold * float(self.saturation.share_of_threshold)

    def scaled(self, duration: timedelta) -> timedelta:
        """The duration as the rules use it."""
        return duration * float(self.window_scale)

    def runbook_url(self, alert: str) -> str:
        """Where the alert's runbook page is."""
        return f"{self.runbooks}/{alert}.md"


def load_slo(path: Path = SLO_FILE, window_scale: Decimal | None = None) -> Slo:
    """Read and check the objectives.

    Args:
        path: the file.
        window_scale: takes the place of the file's `window_scale`.

    Raises:
        InvalidSlo: for a missing, unknown or wrong value, naming field and remedy.
    """
    raw = yaml.safe_load(path.read_text())
    if window_scale is not None and isinstance(raw, dict):
        raw["window_scale"] = window_scale
    try:
        return Slo.model_validate(raw)
    except ValidationError as error:
        problems = [
            f"{path.name}: {'.'.join(map(str, problem['loc'])) or 'file'}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise InvalidSlo("\n".join(problems)) from error


def seconds(duration: timedelta) -> Decimal:
    """The duration in seconds, exactly."""
    return Decimal(duration // timedelta(microseconds=1)) / 1_000_000


def promql(duration: timedelta) -> str:
    """The duration as PromQL writes it: 5m, 1h30m."""
    return promql_parser.display_duration(duration)
