"""The comparisons behind the chosen values: every table of docs/autoscaling.md."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass
from decimal import Decimal
from functools import cache

from monitoring.autoscaling.simulation import (
    Conditions,
    Outcome,
    Reading,
    averaged,
    highest,
    latest,
    latest_if_ready,
    simulate,
)
from monitoring.autoscaling.spec import Autoscaling, Behavior, Policy, ScalingRules, read_spec
from monitoring.autoscaling.traffic import LONE, MIXED, TRACES, Mix, Requests, Trace, draw

THRESHOLD = 0.25
ALLOWED_WAIT = 0.2
"""Seconds: the objectives that the study was made for."""

SEEDS = (1, 2)
MIXES = (LONE, MIXED)
COLD_STARTS = (10, 30, 90)
USUAL_COLD_START = 30
TARGETS = ("0.1", "0.15", "0.2", "0.3", "0.45", "0.6", "0.9", "1.2")
READINGS: Mapping[str, Reading] = {
    "latest of ready pods (chosen)": latest_if_ready,
    "latest of all pods": latest,
    "mean of 1 min": averaged(60),
    "maximum of 1 min": highest(60),
}
HEADINGS = ("good", "refused", "p99 wait", "bad", "pod-hours", "turns")

Say = Callable[[str], None]
Candidate = tuple[Autoscaling, Reading]


@dataclass(frozen=True, slots=True)
class Run:
    """One trace under one autoscaler."""

    trace: Trace
    mix: Mix
    spec: Autoscaling
    cold_start: int = USUAL_COLD_START
    read: Reading = latest_if_ready
    seed: int = SEEDS[0]

    def outcome(self) -> Outcome:
        """Simulate it."""
        requests = _requests(self.trace, self.mix, self.seed)
        return simulate(self.trace, requests, self.spec, conditions(self.cold_start), self.read)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is compared of an outcome; see there."""

    good_share: float
    refused_share: float
    p99_wait: float
    bad_seconds: float
    pod_hours: float
    turns: float


@cache
def summary(run: Run) -> Summary:
    """Simulate it, once in this process."""
    outcome = run.outcome()
    return Summary(
        outcome.good_share,
        outcome.refused_share,
        outcome.p99_wait,
        outcome.bad_seconds,
        outcome.pod_seconds / 3600,
        outcome.turns,
    )


def mean(summaries: Sequence[Summary]) -> Summary:
    """Of each figure."""
    columns = zip(*map(astuple, summaries), strict=True)
    return Summary(*(sum(column) / len(column) for column in columns))


@cache
def _requests(trace: Trace, mix: Mix, seed: int) -> Requests:
    return draw(trace, mix, seed)


def conditions(cold_start: int) -> Conditions:
    """With the objectives that the page names, whatever those of slo.yaml are by now."""
    return Conditions(
        cold_start=cold_start,
        threshold=THRESHOLD,
        allowed_wait=ALLOWED_WAIT,
    )


def _rules(*policies: tuple[str, int, int], window: int) -> ScalingRules:
    return ScalingRules(
        policies=tuple(
            Policy.model_validate({"type": kind, "value": value, "periodSeconds": period})
            for kind, value, period in policies
        ),
        stabilization_window_seconds=window,
    )


def behaviors(chosen: Behavior) -> Mapping[str, Behavior]:
    """The chosen one, what it was weighed against, and Kubernetes' own."""
    default = Behavior()
    return {
        "chosen": chosen,
        "Kubernetes' default": default,
        "up as the default": Behavior(scale_up=default.scale_up, scale_down=chosen.scale_down),
        "up 2 pods a minute": Behavior(
            scale_up=_rules(("Pods", 2, 60), window=0), scale_down=chosen.scale_down
        ),
        "up after 30 s": Behavior(
            scale_up=chosen.scale_up.model_copy(update={"stabilization_window_seconds": 30}),
            scale_down=chosen.scale_down,
        ),
        "down at once after 10 min": Behavior(
            scale_up=chosen.scale_up, scale_down=_rules(("Percent", 100, 15), window=600)
        ),
        "down 1 pod a minute after 5 min": Behavior(
            scale_up=chosen.scale_up, scale_down=_rules(("Pods", 1, 60), window=300)
        ),
    }


def figures(of: Summary) -> tuple[str, ...]:
    """In the order of `HEADINGS`."""
    return (
        f"{100 * of.good_share:.2f} %",
        f"{100 * of.refused_share:.2f} %",
        f"{of.p99_wait:.2f} s",
        f"{of.bad_seconds:.0f} s",
        f"{of.pod_hours:.2f}",
        f"{of.turns:.1f}",
    )


def chosen_row(trace: Trace, mix: Mix) -> str:
    """What the chosen autoscaler makes of one trace, with each cold start; the mean over the seeds."""
    spec = read_spec()
    cells = [trace.name, mix.name]
    for cold in COLD_STARTS:
        runs = [Run(trace, mix, spec, cold, seed=seed) for seed in SEEDS]
        good, refused, wait, bad, hours, turns = figures(mean([summary(run) for run in runs]))
        cells += [good, refused, wait, bad, hours, turns] if cold == USUAL_COLD_START else [good, bad]
    return _line(cells)


def chosen_table(say: Say) -> list[str]:
    """One row for each trace and mix."""
    headings = ["trace", "texts a request"]
    for cold in COLD_STARTS:
        shown = HEADINGS if cold == USUAL_COLD_START else (HEADINGS[0], HEADINGS[3])
        headings += [f"{cold} s: {shown[0]}", *shown[1:]]
    rows = []
    for mix in MIXES:
        for trace in TRACES:
            say(f"{trace.name}, {mix.name}")
            rows.append(chosen_row(trace, mix))
    return [*_head(headings), *rows]


def over_all(candidate: Candidate) -> Summary:
    """The mean over all traces, mixes and seeds."""
    spec, read = candidate
    return mean(
        [
            summary(Run(trace, mix, spec, read=read, seed=seed))
            for mix in MIXES
            for trace in TRACES
            for seed in SEEDS
        ]
    )


def compared(say: Say, heading: str, candidates: Mapping[str, Candidate]) -> list[str]:
    """One row for each candidate."""
    rows = []
    for name, candidate in candidates.items():
        say(f"{heading}: {name}")
        rows.append(_line([name, *figures(over_all(candidate))]))
    return [*_head([heading, *HEADINGS]), *rows]


def targets(spec: Autoscaling) -> Mapping[str, Candidate]:
    """The chosen behaviour with each target."""
    return {
        target: (spec.model_copy(update={"target": Decimal(target)}), latest_if_ready) for target in TARGETS
    }


def tables(say: Say) -> Mapping[str, list[str]]:
    """All of them by name, each as lines of Markdown; `say` is told what is being simulated."""
    spec = read_spec()
    others = {
        name: (spec.model_copy(update={"behavior": behavior}), latest_if_ready)
        for name, behavior in behaviors(spec.behavior).items()
    }
    readings = {name: (spec, read) for name, read in READINGS.items()}
    return {
        "chosen": chosen_table(say),
        "targets": compared(say, "target", targets(spec)),
        "behaviors": compared(say, "behaviour", others),
        "readings": compared(say, "query", readings),
    }


def _head(headings: Iterable[str]) -> list[str]:
    headings = list(headings)
    return [_line(headings), "|" + "---|" * len(headings)]


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"
