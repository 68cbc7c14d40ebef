"""What the runs of a comparison come to: medians over the rounds, and Vitrine beside the others."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from tests.bench.results import Results, Run

OURS = "vitrine"


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value."""
        return cls(median(values), min(values), max(values))


@dataclass(frozen=True)
class Knee:
    """Where a contender's objective breaks, in one round of the open loop."""

    rate: float
    """The highest Poisson rate, per second, at which 99 of 100 requests were answered in time."""
    goodput: float
    """Answers in time per second, there."""
    p50: float
    p99: float
    goodput_at_twice: float
    """Answers in time per second when twice as many requests come."""


def over_rounds(results: Results, contender: str, load: float, what: Callable[[Run], float]) -> Spread | None:
    """A figure of a contender's runs with this load, or None if it has none."""
    runs = results.runs_of(contender, load)
    return Spread.of([what(run) for run in runs]) if runs else None


def rate(run: Run) -> float:
    """Good answers per second."""
    return run.measured.rate


def p99(run: Run) -> float:
    """Seconds."""
    return run.measured.latency.p99


def p50(run: Run) -> float:
    """Seconds."""
    return run.measured.latency.p50


def taking_part(results: Results) -> list[str]:
    """The contenders that were measured to the end."""
    return [name for name, entry in results.entries.items() if not entry.skipped]


def peers(results: Results) -> list[str]:
    """Those that are not Vitrine."""
    return [name for name in taking_part(results) if name != OURS]


def against_best(results: Results, clients: int) -> tuple[str, float]:
    """The fastest peer in a closed loop, and how many times its rate Vitrine's is; medians."""
    rates = {
        name: found.median
        for name in taking_part(results)
        if (found := over_rounds(results, name, clients, rate))
    }
    best = max((name for name in rates if name != OURS), key=lambda name: rates[name])
    return best, rates[OURS] / rates[best]


def of_ceiling(results: Results, clients: int) -> Spread:
    """Vitrine's rate as a share of the offline ceiling measured just before it, round by round."""
    rates = [run.measured.rate for run in results.runs_of(OURS, clients)]
    return Spread.of([got / ceiling.rate for got, ceiling in zip(rates, results.ceilings, strict=True)])


def of_lone_forward(results: Results) -> Spread:
    """Vitrine's median latency for one client, in bare forwards of one text, round by round."""
    latencies = [run.measured.latency.p50 for run in results.runs_of(OURS, 1)]
    return Spread.of(
        [got / ceiling.lone_p50 for got, ceiling in zip(latencies, results.ceilings, strict=True)]
    )


def knees(results: Results, contender: str) -> list[Knee]:
    """One for each round in which some rate held the objective."""
    found = []
    for number in range(results.settings["rounds"]):
        runs = [run for run in results.runs if run.contender == contender and run.round == number]
        held = [run for run in runs if run.measured.meets_objective]
        if not held:
            continue
        knee = max(held, key=lambda run: run.load)
        twice = [run for run in runs if abs(run.load - 2 * knee.load) < 1e-6 * knee.load]
        found.append(
            Knee(
                knee.load,
                knee.measured.goodput,
                knee.measured.latency.p50,
                knee.measured.latency.p99,
                twice[-1].measured.goodput if twice else 0.0,
            )
        )
    return found
