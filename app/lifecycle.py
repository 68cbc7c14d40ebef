"""From loading to serving, and the canary that keeps asking whether the model still answers."""

import asyncio
import gc
import logging
import time
from concurrent.futures import Executor
from functools import partial

from app.batcher import Batcher
from app.errors import VitrineError
from app.health import Health, Phase
from app.models.runner import ModelRunner, TextInput

logger = logging.getLogger(__name__)

PROBE_WORDS = (1, 8, 32, 128)
"""Lengths of the texts that the cost model first learns from."""


GC_THRESHOLDS = (10_000, 50, 100)
"""Objects made before the youngest are looked at, and how many such looks before the older ones are."""


class Lifecycle:
    """Brings the model up and keeps it under observation."""

    def __init__(
        self,
        runner: ModelRunner,
        batcher: Batcher,
        health: Health,
        thread: Executor,
        *,
        canary_interval: float,
        patience: float,
    ) -> None:
        """The model loads on `thread`, the tokenizer's. A probe may take `patience` seconds."""
        self._runner = runner
        self._batcher = batcher
        self._health = health
        self._thread = thread
        self._canary_interval = canary_interval
        self._patience = patience
        self.load_seconds: float | None = None
        """From the start of loading until the model was ready; None before."""

    async def run(self, ready: asyncio.Event) -> None:
        """Load the model, set `ready`, and keep the worker and the canary going until cancelled.

        Raises what ends the process: `ModelError`, `DeviceUnavailable`, `DeviceLost`, `WorkerDied`.
        """
        worker = asyncio.create_task(self._batcher.serve(), name="batcher")
        model = asyncio.create_task(self._bring_up(ready), name="model")
        try:
            await asyncio.wait({worker, model}, return_when=asyncio.FIRST_EXCEPTION)
            # The worker's own death comes first: it is what failed the model's probes, too.
            for task in (worker, model):
                if task.done():
                    task.result()
        except Exception as error:
            self._health.move(Phase.FAILED, str(error))
            raise
        finally:
            worker.cancel()
            model.cancel()
            await asyncio.wait({worker, model})

    async def _bring_up(self, ready: asyncio.Event) -> None:
        started = time.monotonic()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._runner.load)
        self._health.move(Phase.STARTING, "the model is warming up")
        await loop.run_in_executor(self._thread, self._runner.warm_up)
        for words in PROBE_WORDS:
            for inputs in (1, min(8, self._batcher.limits.max_inputs)):
                await self._probe(words=words, inputs=inputs)
        self.load_seconds = time.monotonic() - started
        # What is here by now stays: a collection that looked at all of it would stop the loop for 100 ms.
        gc.collect()
        gc.freeze()
        # Of what comes hereafter most dies with its request. By default all that is alive would be looked at
        # again and again, and under load that is much.
        gc.set_threshold(*GC_THRESHOLDS)
        self._health.move(Phase.SERVING, "the model answers")
        logger.info("model_ready", extra={"seconds": round(self.load_seconds, 3)})
        ready.set()
        await self._keep_canary()

    async def _keep_canary(self) -> None:
        """Ask the model whenever it gave nothing for a while: its answer keeps the server ready."""
        while True:
            last = self._batcher.snapshot().last_success
            idle = self._canary_interval if last is None else time.monotonic() - last
            if idle < self._canary_interval:
                await asyncio.sleep(self._canary_interval - idle)
                continue
            try:
                await self._probe()
            except VitrineError as error:
                logger.warning("canary_failed", extra={"error": error.code, "detail": error.message})
                await asyncio.sleep(self._canary_interval)

    async def _probe(self, *, words: int = 4, inputs: int = 1) -> None:
        """Send texts of our own the way of a request's inputs, past admission and unseen by the observer."""
        text = TextInput(" ".join(["canary"] * words))
        tokenize = partial(self._runner.tokenize, [text] * inputs, truncate=True)
        items = await asyncio.get_running_loop().run_in_executor(self._thread, tokenize)
        await self._batcher.submit(items, time.monotonic() + self._patience)
