"""Cost grows with the work and with nothing else: ten times the texts, ten times the time; memory stays."""

import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from tests.bench.conftest import Serve
from tests.bench.corpus import corpus
from tests.bench.load import closed
from tests.texts import texts

pytestmark = [pytest.mark.bench, pytest.mark.timeout(3600)]
REQUESTS = int(os.environ.get("BENCH_REQUESTS", "200000"))
REPEATS = int(os.environ.get("BENCH_REPEATS", "5"))
CLIENTS = 32
MIB = 2**20


def answer_time(port: int, inputs: list[str]) -> float:
    body = json.dumps({"model": "all-MiniLM-L6-v2", "input": inputs}).encode()
    asked = Request(f"http://127.0.0.1:{port}/v1/embeddings", body, {"content-type": "application/json"})
    began = time.perf_counter()
    with urlopen(asked, timeout=300) as reply:
        answered = json.load(reply)
    took = time.perf_counter() - began
    assert len(answered["data"]) == len(inputs)
    return took


def test_ten_times_the_texts_take_ten_times_the_time(serve: Serve) -> None:
    server = serve(APP_REQUEST_TIMEOUT="300", APP_ADMISSION__MAX_WAIT="300")
    few = corpus(200)
    many = few * 10  # the same lengths in the same shares
    answer_time(server.port, few)
    ratios = []
    for _ in range(REPEATS):
        before, ten, after = (answer_time(server.port, inputs) for inputs in (few, many, few))
        ratios.append(ten / ((before + after) / 2))
    print(f"\n{len(many)} texts took {statistics.median(ratios):.2f} times as long as {len(few)} ({ratios})")
    assert statistics.median(ratios) == pytest.approx(10, rel=0.1)


def test_memory_is_flat_over_many_requests(serve: Serve, ask: Callable[..., Path]) -> None:
    server = serve()
    # Short, since what could leak is the request's and not the token's; some long ones among them
    requests = ask([*texts(2000, mean=4, longest=30), *corpus(50)])
    sent, sizes = 0, []
    while sent < REQUESTS:
        measured = closed(requests, server.port, clients=CLIENTS, seconds=20)
        assert measured.errors == 0
        sent += measured.sent
        sizes.append((sent, server.resident_bytes()))
    told = ", ".join(f"{count}: {size / MIB:.0f}" for count, size in sizes)
    print(f"\nMiB resident after so many requests: {told}")
    # What caches, rings and the allocator hold is there after a fifth
    settled = [(count, size) for count, size in sizes if count >= sent / 5]
    (first, smaller), (last, larger) = settled[0], settled[-1]
    assert (larger - smaller) / (last - first) < 100, "bytes a request"
