"""From starting to serving, and the canary that keeps asking whether the model still answers."""

import asyncio
import logging
import time

from app.batcher import Batcher
from app.errors import VitrineError
from app.health import Health, Phase
from app.models.runner import ModelRunner, TextInput

logger = logging.getLogger("vitrine.lifecycle")

PROBE_WORDS = (1, 8, 32, 128)
"""Lengths of the texts that the cost model first learns from."""


async def start_model(runner: ModelRunner, batcher: Batcher, health: Health, patience: float) -> None:
    """Load, warm up, measure, and open for requests.

    A probe takes `patience` seconds at most. Raises `ModelError`, `DeviceUnavailable`, `DeviceLost`.
    """
    started = time.monotonic()
    health.move(Phase.STARTING, "the model is loading")
    await asyncio.to_thread(runner.load)
    health.move(Phase.STARTING, "the model is warming up")
    await asyncio.to_thread(runner.warm_up)
    for words in PROBE_WORDS:
        for inputs in (1, min(8, batcher.limits.max_inputs)):
            await probe(runner, batcher, patience, words=words, inputs=inputs)
    health.move(Phase.SERVING, "serving")
    logger.info("model_ready", extra={"seconds": round(time.monotonic() - started, 3)})


async def probe(
    runner: ModelRunner, batcher: Batcher, patience: float, *, words: int = 4, inputs: int = 1
) -> None:
    """Send texts of our own the way of a request's inputs, past admission and unseen by the observer."""
    text = TextInput(" ".join(["canary"] * words))
    items = await asyncio.to_thread(runner.tokenize, [text] * inputs, truncate=True)
    await batcher.submit(items, time.monotonic() + patience)


async def keep_canary(runner: ModelRunner, batcher: Batcher, interval: float) -> None:
    """Ask the model whenever it gave nothing for `interval` seconds: its answer keeps the server ready."""
    while True:
        last = batcher.snapshot().last_success
        idle = interval if last is None else time.monotonic() - last
        if idle < interval:
            await asyncio.sleep(interval - idle)
            continue
        try:
            await probe(runner, batcher, interval)
        except VitrineError as error:
            logger.warning("canary_failed", extra={"error": error.code, "detail": error.message})
            await asyncio.sleep(interval)
