"""Rounds in which each contender has its turn alone on the machine: closed loops, and Poisson arrivals."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.bench.answers import Reference, WrongAnswers
from tests.bench.ceiling import Ceiling
from tests.bench.contenders import BY_NAME, Contender
from tests.bench.corpus import corpus, lengths
from tests.bench.load import BUILD, OBJECTIVE, Measured, closed, open_loop, read_answers, write_requests
from tests.bench.machine import machine
from tests.bench.results import Entry, Results, Run
from tests.bench.running import Running, Unavailable, command_of, install, started
from tests.bench.sink import collector


@dataclass(frozen=True)
class Plan:
    """What to measure, and for how long."""

    contenders: tuple[str, ...]
    dtype: str
    rounds: int
    seconds: float
    """Of each run of load."""
    clients: tuple[int, ...]
    """Of the closed loops."""
    texts: int
    warm_up: float
    """Seconds of load on a server that has just started; its answers are checked."""


class Comparison:
    """Starts contenders in turn, checks and measures them, and keeps the results."""

    def __init__(self, kind: str, plan: Plan, model: Path, command: str) -> None:
        self.plan = plan
        self.model = model.resolve()
        self.texts = corpus(plan.texts)
        BUILD.mkdir(parents=True, exist_ok=True)
        settings = {**asdict(plan), "objective": OBJECTIVE, "tokens": lengths(self.model, self.texts)}
        self.results = Results(kind, plan.dtype, command, machine(), settings)
        self.taking_part: list[Contender] = []
        for name in plan.contenders:
            self._enter(BY_NAME[name])
        self.reference = Reference.of(self.model, self.texts)

    def turns(self, headers: Mapping[str, str] | None = None) -> Iterator[tuple[int, Running, Path]]:
        """Each round's contenders, started and warmed up, with the file of their requests.

        `headers` go to Vitrine only. Each round begins with the next contender in the list.
        """
        for number in range(self.plan.rounds):
            taking_part = list(self.taking_part)
            start = number % max(1, len(taking_part))
            for contender in taking_part[start:] + taking_part[:start]:
                if self.results.kind == "closed" and contender.folder is None:
                    self.ceiling()
                try:
                    with self._running(contender) as running:
                        own = headers if contender.folder is None else None
                        yield number, running, self._warmed_up(running, own)
                except (Unavailable, WrongAnswers) as reason:
                    self._drop(contender, str(reason))
                self.results.write()

    def measure(self, number: int, running: Running, load: float, how: Callable[[], Measured]) -> Measured:
        """Run a load and keep what it showed."""
        before = running.cpu_seconds()
        measured = how()
        spent = running.cpu_seconds() - before
        name = running.contender.name
        run = Run(name, number, load, measured, spent / max(1, measured.sent), running.peak_bytes())
        self.results.runs.append(run)
        tell(run)
        return measured

    def ceiling(self) -> None:
        """Measure the offline ceiling in a process of its own."""
        command = [sys.executable, "-m", "tests.bench.ceiling", str(self.model), self.plan.dtype]
        run = subprocess.run(
            [*command, str(self.plan.seconds), str(self.plan.texts)],
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        ceiling = Ceiling(**json.loads(run.stdout.splitlines()[-1]))
        self.results.ceilings.append(ceiling)
        print(
            f"{'offline ceiling':22} {ceiling.rate:6.1f} texts/s (batches of {ceiling.batch}, "
            f"{ceiling.threads} threads), lone text p50 {ceiling.lone_p50 * 1e3:.1f} ms",
            flush=True,
        )

    def _enter(self, contender: Contender) -> None:
        entry = Entry(contender.title, command=command_of(contender, dtype=self.plan.dtype))
        self.results.entries[contender.name] = entry
        if self.plan.dtype not in contender.dtypes:
            entry.skipped = f"it is compared in {', '.join(contender.dtypes)} only"
            return
        try:
            entry.version = install(contender, self.model)
            self.taking_part.append(contender)
        except Unavailable as reason:
            self._drop(contender, str(reason))

    @contextmanager
    def _running(self, contender: Contender) -> Iterator[Running]:
        with ExitStack() as stack:
            variables = {}
            if contender.folder is None:
                variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = stack.enter_context(collector())
            running = stack.enter_context(
                started(contender, self.model, dtype=self.plan.dtype, text=self.texts[0], variables=variables)
            )
            self.results.entries[contender.name].start_seconds.append(running.start_seconds)
            yield running

    def _warmed_up(self, running: Running, headers: Mapping[str, str] | None) -> Path:
        contender = running.contender
        bodies = [contender.body(text) for text in self.texts]
        requests = write_requests(BUILD / f"{contender.name}.requests", contender.path, bodies, headers)
        # Without the headers: that all are answered is what is asked here
        plain = write_requests(BUILD / f"{contender.name}.plain", contender.path, bodies)
        answers = BUILD / f"{contender.name}.answers"
        measured = closed(plain, running.port, clients=16, seconds=self.plan.warm_up, answers=answers)
        if measured.errors:
            raise WrongAnswers(f"{measured.errors} of {measured.sent} requests of the warm-up failed")
        checked = read_answers(answers)
        entry = self.results.entries[contender.name]
        entry.least_cosine = min(entry.least_cosine, self.reference.least_cosine(contender, checked))
        entry.answers_checked += len(checked)
        return requests

    def _drop(self, contender: Contender, reason: str) -> None:
        self.results.entries[contender.name].skipped = reason
        self.taking_part = [other for other in self.taking_part if other is not contender]
        print(f"{contender.name:22} left out: {reason}", flush=True)


def compare_closed(comparison: Comparison) -> Results:
    """Each concurrency of the plan, and the offline ceiling beside Vitrine's turn."""
    plan = comparison.plan
    for number, running, requests in comparison.turns():
        for clients in plan.clients:
            comparison.measure(
                number, running, clients, _closed(requests, running.port, clients, plan.seconds)
            )
    return comparison.results


def compare_open(comparison: Comparison) -> Results:
    """Latency against rate up to where the objective breaks, that place found closer, and twice its rate."""
    plan = comparison.plan
    # What a caller with this objective tells a server that listens to it
    headers = {"x-request-timeout-ms": f"{OBJECTIVE * 1e3:.0f}"}
    for number, running, requests in comparison.turns(headers):
        capacity = closed(requests, running.port, clients=8, seconds=plan.warm_up).rate

        def at(rate: float, number: int = number, running: Running = running, file: Path = requests) -> bool:
            how = _open(file, running.port, rate, plan.seconds, seed=number + 1)
            return comparison.measure(number, running, rate, how).meets_objective

        knee = find_knee(at, capacity)
        if knee:
            at(2 * knee)
    return comparison.results


STEPS = (0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)


def find_knee(holds: Callable[[float], bool], capacity: float) -> float:
    """The highest rate found at which the objective holds, by steps of the capacity, then bisection; or 0."""
    good, bad = 0.0, 0.0
    for step in STEPS:
        rate = step * capacity
        if not holds(rate):
            bad = rate
            break
        good = rate
    for _ in range(2 if bad else 0):
        rate = (good + bad) / 2
        if holds(rate):
            good = rate
        else:
            bad = rate
    return good


def tell(run: Run) -> None:
    """A line on the terminal."""
    m = run.measured
    print(
        f"{run.contender:22} round {run.round + 1}, load {run.load:5.4g}: {m.rate:6.1f}/s, "
        f"within {OBJECTIVE * 1e3:.0f} ms {m.goodput:6.1f}/s, p50 {m.latency.p50 * 1e3:6.1f} ms, "
        f"p99 {m.latency.p99 * 1e3:6.1f} ms, CPU {run.cpu_per_request * 1e3:5.2f} ms, "
        f"{run.peak_bytes / 2**20:5.0f} MiB, without answer {m.errors} (429: {m.refused})",
        flush=True,
    )


def _closed(requests: Path, port: int, clients: int, seconds: float) -> Callable[[], Measured]:
    return lambda: closed(requests, port, clients=clients, seconds=seconds)


def _open(requests: Path, port: int, rate: float, seconds: float, seed: int) -> Callable[[], Measured]:
    return lambda: open_loop(requests, port, rate=rate, seconds=seconds, seed=seed)


def names(chosen: Sequence[str]) -> tuple[str, ...]:
    """The contenders chosen, Vitrine first. Raises ValueError for one that is not known."""
    unknown = [name for name in chosen if name not in BY_NAME]
    if unknown:
        raise ValueError(f"no such contender: {', '.join(unknown)}; there are {', '.join(BY_NAME)}")
    return tuple(name for name in BY_NAME if name in chosen)
