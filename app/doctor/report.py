"""What the doctor says: to people, and in JSON to programs."""

import textwrap
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.doctor.walk import Layer, State

WORDS = {State.OK: "ok", State.BROKEN: "BROKEN", State.BLOCKED: "not looked at", State.SKIPPED: "-"}
WIDTH = 112
_INDENT = " " * 30


class LayerReport(BaseModel):
    """One layer of the walk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    state: State
    evidence: tuple[str, ...] = Field(min_length=1)
    remedy: str | None


class Report(BaseModel):
    """What `--json` prints. Fields may be added while `version` stays 1; none changes or goes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = 1
    healthy: bool
    first_broken: str | None
    layers: tuple[LayerReport, ...]

    @classmethod
    def of(cls, layers: Sequence[Layer]) -> "Report":
        """The report of a walk."""
        first = first_broken(layers)
        return cls(
            healthy=first is None,
            first_broken=first.name if first else None,
            layers=tuple(
                LayerReport(name=layer.name, state=layer.state, evidence=layer.evidence, remedy=layer.remedy)
                for layer in layers
            ),
        )


def first_broken(layers: Sequence[Layer]) -> Layer | None:
    """The one to begin with: what is broken after it may be its doing."""
    return next((layer for layer in layers if layer.state is State.BROKEN), None)


def line(layer: Layer) -> str:
    """A layer for people: its state, its name, and beside them the evidence and the remedy."""
    told = [_wrapped(evidence) for evidence in layer.evidence]
    if layer.remedy:
        told.append(_wrapped(layer.remedy, "→ "))
    beside = "\n".join(told).removeprefix(_INDENT)
    return f"{WORDS[layer.state]:<15}{layer.name:<15}{beside}"


def verdict(layers: Sequence[Layer]) -> str:
    """The last line for people."""
    if first := first_broken(layers):
        return f"First broken layer: {first.name}."
    looked_at = sum(layer.state is State.OK for layer in layers)
    return f"Nothing is broken in the {looked_at} layers looked at."


def _wrapped(text: str, mark: str = "") -> str:
    return textwrap.fill(
        text,
        WIDTH,
        initial_indent=_INDENT + mark,
        subsequent_indent=_INDENT + " " * len(mark),
        break_long_words=False,
        break_on_hyphens=False,
    )
