"""What a HorizontalPodAutoscaler says, with the API's own fields and defaults (`autoscaling/v2`)."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

MANIFEST = Path(__file__).parents[2] / "k8s/components/autoscaling-adapter/hpa.yaml"

METRIC = "inference_saturation_ratio"

DEFAULT_TOLERANCE = 0.1
"""Of kube-controller-manager's `--horizontal-pod-autoscaler-tolerance`."""


class _Fields(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


class Policy(_Fields):
    """At most so many pods, or so much of the pods at the period's start, in the period."""

    type: Literal["Pods", "Percent"]
    value: Annotated[int, Field(gt=0)]
    period_seconds: Annotated[int, Field(gt=0, le=1800)]


class ScalingRules(_Fields):
    """How fast the replicas may change in one direction."""

    policies: Annotated[tuple[Policy, ...], Field(min_length=1)]
    select_policy: Literal["Max", "Min", "Disabled"] = "Max"
    stabilization_window_seconds: Annotated[int, Field(ge=0, le=3600)]


class Behavior(_Fields):
    """Both directions; what is left out is what the API server would fill in."""

    scale_up: ScalingRules = ScalingRules(
        policies=(
            Policy(type="Pods", value=4, period_seconds=15),
            Policy(type="Percent", value=100, period_seconds=15),
        ),
        stabilization_window_seconds=0,
    )
    scale_down: ScalingRules = ScalingRules(
        policies=(Policy(type="Percent", value=100, period_seconds=15),),
        stabilization_window_seconds=300,
    )


class Autoscaling(_Fields):
    """The part of the object that decides how many replicas there are, for one metric of the pods."""

    min_replicas: Annotated[int, Field(ge=1)] = 1
    max_replicas: int
    target: Annotated[Decimal, Field(gt=0)]
    """The `averageValue` that the metric is to have over the pods."""
    behavior: Behavior = Behavior()
    tolerance: float = DEFAULT_TOLERANCE

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.max_replicas < self.min_replicas:
            raise ValueError("maxReplicas: must be at least min_replicas")
        return self


def read_spec(path: Path = MANIFEST) -> Autoscaling:
    """Read a manifest whose only metric is the Pods metric `inference_saturation_ratio`.

    Raises:
        ValueError: if it has other metrics, or a value that the API would refuse.
    """
    spec: dict[str, Any] = yaml.safe_load(path.read_text())["spec"]
    metrics = spec["metrics"]
    if [metric.get("pods", {}).get("metric") for metric in metrics] != [{"name": METRIC}]:
        raise ValueError(f"{path.name}: spec.metrics must be the Pods metric {METRIC} and nothing else")
    return Autoscaling(
        min_replicas=spec["minReplicas"],
        max_replicas=spec["maxReplicas"],
        target=quantity(metrics[0]["pods"]["target"]["averageValue"]),
        behavior=spec["behavior"],
    )


def quantity(text: str) -> Decimal:
    """The number that a Kubernetes quantity of milli-units or units says: 250m or 3."""
    return Decimal(text[:-1]) / 1000 if text.endswith("m") else Decimal(text)
