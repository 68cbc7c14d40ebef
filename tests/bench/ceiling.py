"""`python -m tests.bench.ceiling MODEL DTYPE SECONDS TEXTS`: the same weights on the same cores without HTTP.

Texts are tokenized before the clock starts, ordered by length and cut into batches; the runner's own
`concurrency` of threads takes them in turn, all of them equally often: a slow machine would else be timed on
those texts that come first. What is printed is the best of several batch sizes, and the bare forward of one
text.
"""

import json
import statistics
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from itertools import cycle

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
    """Neighbours in length together, at most `inputs` and, padded, `max_tokens`; the longest come first."""
    batches: list[list[TokenizedInput]] = [[]]
    for item in sorted(items, key=lambda item: item.tokens):
        batch = batches[-1]
        if len(batch) == inputs or (batch and (len(batch) + 1) * item.tokens > max_tokens):
            batches.append(batch := [])
        batch.append(item)
    return batches[::-1]


def throughput(
    runner: ModelRunner, batches: Sequence[Sequence[TokenizedInput]], seconds: float
) -> tuple[float, float]:
    """Texts and tokens per second of the runner's threads on all of these batches.

    They run once, and again as often as that begins before `seconds` are over.
    """
    lock, done = threading.Lock(), 0
    started = time.perf_counter()

    def take() -> Sequence[TokenizedInput] | None:
        nonlocal done
        with lock:
            if done % len(batches) == 0 and done and time.perf_counter() - started >= seconds:
                return None
            done += 1
            return batches[(done - 1) % len(batches)]

    def work() -> None:
        while (batch := take()) is not None:
            runner.run(batch)

    with ThreadPoolExecutor(runner.concurrency) as threads:
        for worker in [threads.submit(work) for _ in range(runner.concurrency)]:
            worker.result()
    passes = done / len(batches) / (time.perf_counter() - started)
    items = [item for batch in batches for item in batch]
    return passes * len(items), passes * sum(item.tokens for item in items)


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
    """All batch sizes, and lone texts, for `seconds` each or a little longer."""
    rates = {}
    for inputs in BATCHES:
        batches = batches_of(items, inputs, max_tokens)
        throughput(runner, batches[:: len(batches) // 8 or 1], 0)  # to warm up
        rates[inputs] = throughput(runner, batches, seconds)
    best = max(rates, key=lambda inputs: rates[inputs][0])
    took = lone(runner, items, seconds)
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
