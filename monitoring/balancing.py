"""How a load balancer's choice and the number of pods shape the tail: a simulation for docs/scaling.md.

Requests come by a Poisson process, take exponentially distributed times, and wait in the line of the pod that
was chosen for them, which has `workers` that take them in order of arrival.
"""

import heapq
import math
import random
from collections.abc import Callable, Sequence

Choice = Callable[[Sequence[int], random.Random], int]
"""From the requests in each pod to the pod that gets the next."""


def at_random(load: Sequence[int], chance: random.Random) -> int:
    """As kube-proxy does for each connection."""
    return chance.randrange(len(load))


def better_of_two(load: Sequence[int], chance: random.Random) -> int:
    """The less loaded of two pods taken at random."""
    one, other = chance.randrange(len(load)), chance.randrange(len(load))
    return one if load[one] <= load[other] else other


def least_loaded(load: Sequence[int], chance: random.Random) -> int:
    """One of the least loaded of all."""
    least = min(load)
    return chance.choice([pod for pod, requests in enumerate(load) if requests == least])


CHOICES: dict[str, Choice] = {
    "random": at_random,
    "the better of two": better_of_two,
    "the least loaded": least_loaded,
}


def simulate(
    choice: Choice,
    *,
    pods: int,
    utilisation: float,
    workers: int = 2,
    requests: int = 40_000,
    seed: int = 1,
) -> list[float]:
    """The time that each request spends in its pod, sorted, in mean service times.

    `utilisation` is the share of the workers' time that is asked for. The first tenth, while lines build up,
    is left out.
    """
    chance = random.Random(seed)
    load = [0] * pods
    free = [[0.0] * workers for _ in range(pods)]
    """When each worker of each pod will be done with all that it has; heaps."""
    leaving: list[tuple[float, int]] = []
    spent = []
    now = 0.0
    for number in range(requests):
        now += chance.expovariate(utilisation * pods * workers)
        while leaving and leaving[0][0] <= now:
            load[heapq.heappop(leaving)[1]] -= 1
        pod = choice(load, chance)
        end = max(now, free[pod][0]) + chance.expovariate(1)
        heapq.heapreplace(free[pod], end)
        heapq.heappush(leaving, (end, pod))
        load[pod] += 1
        if number >= requests // 10:
            spent.append(end - now)
    return sorted(spent)


def mean_in_line(utilisation: float, workers: int) -> float:
    """Erlang's formula for what one pod's requests wait in the mean, in mean service times."""
    offered = utilisation * workers
    waits = offered**workers / math.factorial(workers) / (1 - utilisation)
    share = waits / (sum(offered**n / math.factorial(n) for n in range(workers)) + waits)
    return share / (workers * (1 - utilisation))


def table(utilisations: Sequence[float] = (0.6, 0.8, 0.9), pods: Sequence[int] = (10, 100)) -> str:
    """The 99th percentile of the time in the pod, in Markdown."""
    head = ["p99, in mean service times", *(f"{n} pods, {u:.0%} busy" for n in pods for u in utilisations)]
    rows = []
    for name, choice in CHOICES.items():
        cells = []
        for n in pods:
            for utilisation in utilisations:
                spent = simulate(choice, pods=n, utilisation=utilisation)
                cells.append(f"{spent[int(0.99 * len(spent))]:.1f}")
        rows.append([name, *cells])
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
