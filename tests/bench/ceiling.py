"""`python -m tests.bench.ceiling MODEL DTYPE SECONDS TEXTS`: the same weights on the same cores without HTTP.

Texts are tokenized before the clock starts, ordered by length and cut into batches; the runner's own
`concurrency` of threads takes them in turn. What is printed is the best of several batch sizes, and the bare
forward of one text.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import cycle
from random import Random

import numpy as np

from app.main import create_app
from app.models.cpu import share_cpus
from app.models.device import DtypeName
from app.models.runner import ModelRunner, TextInput, TokenizedInput
from app.settings import Settings
from tests.bench.corpus import corpus

BATCHES = (8, 16, 32, 64)


@dataclass(frozen=True)
class Ceiling:
    """The offline measurement of one round."""

    batch: int
    """The inputs in a batch of the best size."""
    threads: int
    rate: float
    """Texts per second."""
    tokens_per_second: float
    by_batch: dict[int, float]
    """Texts per second of each size."""
    lone_p50: float
    """Seconds of the bare forward of one text, in the median over the texts."""
    lone_p99: float


def batches_of(items: Sequence[TokenizedInput], inputs: int, max_tokens: int) -> list[list[TokenizedInput]]:
    """Neighbours in length together, at most `inputs` and, padded, at most `max_tokens`; in random order."""
    batches: list[list[TokenizedInput]] = [[]]
    for item in sorted(items, key=lambda item: item.tokens):
        batch = batches[-1]
        if len(batch) == inputs or (batch and (len(batch) + 1) * item.tokens > max_tokens):
            batches.append(batch := [])
        batch.append(item)
    Random(1).shuffle(batches)
    return batches


def throughput(
    runner: ModelRunner, batches: Sequence[Sequence[TokenizedInput]], seconds: float
) -> tuple[float, float]:
    """Texts and tokens per second of the runner's threads on these batches, again and again."""
    turns, lock = cycle(batches), threading.Lock()
    done: list[tuple[int, int]] = []
    started = time.perf_counter()

    def work() -> None:
        while time.perf_counter() - started < seconds:
            with lock:
                batch = next(turns)
            runner.run(batch)
            done.append((len(batch), sum(item.tokens for item in batch)))

    threads = [threading.Thread(target=work) for _ in range(runner.concurrency)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    elapsed = time.perf_counter() - started
    inputs, tokens = map(sum, zip(*done, strict=True))
    return inputs / elapsed, tokens / elapsed


def lone(runner: ModelRunner, items: Sequence[TokenizedInput], seconds: float) -> list[float]:
    """Seconds of each bare forward of one text, with all the cores that do it good."""
    took = []
    stop = time.perf_counter() + seconds
    for item in cycle(items):
        began = time.perf_counter()
        runner.run([item], alone=True)
        ended = time.perf_counter()
        took.append(ended - began)
        if ended > stop:
            return took
    raise ValueError("no items")


def measure(runner: ModelRunner, items: Sequence[TokenizedInput], max_tokens: int, seconds: float) -> Ceiling:
    """All batch sizes, and lone texts, for `seconds` each, after half a second of each to warm up."""
    rates = {}
    for inputs in BATCHES:
        batches = batches_of(items, inputs, max_tokens)
        throughput(runner, batches, seconds / 4)
        rates[inputs] = throughput(runner, batches, seconds)
    best = max(rates, key=lambda inputs: rates[inputs][0])
    # In random order, as they come from clients
    took = lone(runner, Random(2).sample(items, len(items)), seconds)
    return Ceiling(
        batch=best,
        threads=runner.concurrency,
        rate=rates[best][0],
        tokens_per_second=rates[best][1],
        by_batch={inputs: rate for inputs, (rate, _) in rates.items()},
        lone_p50=statistics.median(took),
        lone_p99=float(np.quantile(took, 0.99)),
    )


def main(model: str, dtype: DtypeName, seconds: float, count: int) -> None:
    """Measure the runner that the service would have."""
    share_cpus()
    settings = Settings(model=model, dtype=dtype)
    runner = create_app(settings).runner
    runner.load()
    runner.warm_up()
    items = runner.tokenize([TextInput(text) for text in corpus(count)], truncate=True)
    print(json.dumps(asdict(measure(runner, items, settings.max_batch_tokens, seconds))))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4]))  # type: ignore[arg-type]
