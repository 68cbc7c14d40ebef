"""The walk: one check after the other, none of which is asked about what stands on a broken layer."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

Patient = TypeVar("Patient")


@dataclass(frozen=True, slots=True)
class Ok:
    """The layer holds: what was seen."""

    evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Broken:
    """The finding: what was seen, and what to do about it."""

    evidence: tuple[str, ...]
    remedy: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """There is nothing to look at from here, and why."""

    reason: str


Result = Ok | Broken | Skipped


@dataclass(frozen=True, slots=True)
class Check(Generic[Patient]):
    """How one layer is looked at."""

    name: str
    question: str
    """What it answers, for the documentation."""
    look: Callable[[Patient], Result]
    needs: str | None = None
    """The layer without which there is nothing to look at: where that one is skipped, so is this."""
    after: tuple[str, ...] = ()
    """Layers that, while broken, would break this one too."""


class State(StrEnum):
    """What has become of a layer."""

    OK = "ok"
    BROKEN = "broken"
    BLOCKED = "blocked"
    """Not looked at, since a layer that it stands on is broken."""
    SKIPPED = "skipped"
    """Nothing to look at from here."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer after the walk."""

    name: str
    state: State
    evidence: tuple[str, ...]
    remedy: str | None = None


def walk(checks: Iterable[Check[Patient]], patient: Patient) -> Iterator[Layer]:
    """Look at each layer in order, and tell of each as soon as it is known."""
    states: dict[str, State] = {}
    for check in checks:
        layer = _visit(check, patient, states)
        states[check.name] = layer.state
        yield layer


def _visit(check: Check[Patient], patient: Patient, states: dict[str, State]) -> Layer:
    for name in (*([check.needs] if check.needs else []), *check.after):
        if states[name] in {State.BROKEN, State.BLOCKED}:
            return Layer(check.name, State.BLOCKED, (f"it stands on {name}",))
    if check.needs and states[check.needs] is State.SKIPPED:
        return Layer(check.name, State.SKIPPED, (f"it belongs to {check.needs}, which was not looked at",))
    match check.look(patient):
        case Ok(evidence):
            return Layer(check.name, State.OK, evidence)
        case Broken(evidence, remedy):
            return Layer(check.name, State.BROKEN, evidence, remedy)
        case Skipped(reason):
            return Layer(check.name, State.SKIPPED, (reason,))
