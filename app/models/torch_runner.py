"""The model runner on torch: stock Transformers models, with the fastest forward pass that fits them."""

import logging
import math
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import torch

from app.errors import DeviceLost, ModelError, OutOfMemory
from app.models.checkpoint import read_checkpoint
from app.models.cpu import cpu_quota
from app.models.device import DeviceName, DtypeName, select_device, select_dtype
from app.models.forward import Forward, choose_forward
from app.models.loading import load_model, positions, reads_token_types
from app.models.runner import Input, ModelInfo, Row, Task, TextInput, TokenizedInput
from app.models.tasks import Head, head_for
from app.models.tokenizer import Tokenizer
from app.models.weights import verify

log = logging.getLogger(__name__)

ALONE = 32
"""Tokens of the text by which the threads for a batch that is alone are chosen."""

BATCH_TOKENS = (256, 512, 1024)
"""Sizes of a batch that are tried on the CPU, until one gains nothing over the one before."""

TRYING = 1.0
"""Seconds in which more threads may prove to be of use: at first all of them may share one core."""

NEARLY = 1.1
"""What is this much slower is as good, if it is a smaller batch or takes fewer threads."""


class TorchRunner:
    """A `ModelRunner`; see there for the order of calls and the threads."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        revision: str | None = None,
        task: Task | Literal["auto"] = "auto",
        device: DeviceName = "auto",
        dtype: DtypeName = "auto",
        threads: int = 1,
        max_batch_tokens: int = 16384,
    ) -> None:
        """`revision` is the commit that the folder's manifest must name, if any will not do.

        `threads` is torch's intra-op parallelism on the CPU, for each batch. An input may have no more tokens
        than `max_batch_tokens`, whatever the model reads.
        """
        self._folder = folder
        self._name = name
        self._revision = revision
        self._task: Task | Literal["auto"] = task
        self._device_name: DeviceName = device
        self._dtype_name: DtypeName = dtype
        self._threads = threads
        self._max_batch_tokens = max_batch_tokens
        self._info: ModelInfo
        self._tokenizer: Tokenizer
        self._forward: Forward
        self._head: Head
        self._batch_tokens = max_batch_tokens
        self._threads_alone = threads

    @property
    def concurrency(self) -> int:
        """One batch on a GPU; on the CPU as many as its quota has room for.

        Two batches with a thread each are faster than one with two threads, and keep their speed beside a
        busy event loop, where the threads of one batch would wait for each other. A batch that is alone may
        have the threads of all.
        """
        on_gpu = self._device_name != "cpu" and torch.cuda.is_available()
        return 1 if on_gpu else max(1, cpu_quota() // self._threads)

    @property
    def batch_tokens(self) -> int:
        """The tokens from which on a larger batch is no faster; known once `warm_up` has returned."""
        return self._batch_tokens

    @property
    def info(self) -> ModelInfo:
        """Known once `load` has returned."""
        return self._info

    def load(self) -> None:
        """Verify and load the weights. Raises `ModelError` or `DeviceUnavailable`."""
        torch.set_num_threads(self._threads)
        device = select_device(self._device_name)
        verification = verify(self._folder)
        for finding in verification.findings:
            log.warning("model_finding", extra={"finding": finding})
        manifest = verification.manifest
        revision = manifest.revision if manifest else None
        if self._revision not in {None, revision}:
            raise ModelError(
                f"APP_MODEL_REVISION is {self._revision}, but {self._folder.name} is of {revision}: "
                "fetch the one that is meant (`python -m app model fetch --revision`), or change the setting."
            )
        checkpoint = read_checkpoint(self._folder, self._task)
        dtype = select_dtype(self._dtype_name, device, checkpoint.config.dtype)
        self._head = head_for(checkpoint)
        model = load_model(checkpoint, self._head, device=device, dtype=dtype)
        numbering = positions(model)
        limits = checkpoint.max_length, numbering.limit, self._max_batch_tokens
        max_tokens = min(limit for limit in limits if limit is not None)
        self._forward, pads = choose_forward(
            model,
            self._head,
            token_types=reads_token_types(checkpoint, model),
            first_position=numbering.first,
            max_tokens=max_tokens,
        )
        embeddings: Any = model.get_input_embeddings()
        self._tokenizer = Tokenizer(checkpoint, max_tokens=max_tokens, vocab_size=embeddings.num_embeddings)
        embeds = checkpoint.task is Task.EMBEDDINGS
        self._info = ModelInfo(
            name=self._name,
            task=checkpoint.task,
            source=self._folder.resolve().name if manifest is None else manifest.source,
            revision=revision,
            architecture=type(model).__name__,
            device=str(device),
            dtype=str(dtype).removeprefix("torch."),
            max_tokens=max_tokens,
            dimensions=model.config.hidden_size * len(checkpoint.sentence.pooling) if embeds else None,
            labels=checkpoint.labels,
            multi_label=checkpoint.multi_label,
            pads=pads,
        )

    def warm_up(self) -> None:
        """Run batches of several shapes: on a GPU the largest there can be, so that it proves to fit.

        On the CPU learn which size is computed fastest: beyond some hundred tokens, what a layer hands to the
        next no longer fits into the caches. And learn how many threads are good for a text that is alone.
        """
        self._sample(1, 8)
        if self._info.device.startswith("cuda"):
            self._sample(8, 32)
            self._sample(self._max_batch_tokens // self._info.max_tokens, self._info.max_tokens)
            return
        self._batch_tokens = self._choose_batch_tokens()
        # On a thread that ends, and its helpers with it: libgomp counts them, and where there are more than
        # CPUs none of them spins.
        with ThreadPoolExecutor(1) as thread:
            self._threads_alone = thread.submit(self._choose_threads_alone).result()

    def _choose_batch_tokens(self) -> int:
        chosen, fastest = self._max_batch_tokens, math.inf
        for size in (size for size in BATCH_TOKENS if size <= self._max_batch_tokens):
            seconds_per_token = self._sample(size // 32, 32) / size
            if NEARLY * seconds_per_token > fastest:
                break
            chosen, fastest = size, seconds_per_token
        return chosen

    def _choose_threads_alone(self) -> int:
        seconds: dict[int, float] = {}
        choices = [self._threads << n for n in range(self.concurrency.bit_length())]
        give_up = time.perf_counter() + TRYING
        while True:
            for threads in choices * 3:  # in turn, since others use the cores, too
                self._threads_alone = threads
                taken = self._sample(1, ALONE, alone=True)
                seconds[threads] = min(taken, seconds.get(threads, taken))
            fastest = min(seconds.values())
            chosen = next(threads for threads in choices if seconds[threads] <= NEARLY * fastest)
            if chosen != self._threads or len(choices) == 1 or time.perf_counter() > give_up:
                return chosen

    def _sample(self, inputs: int, tokens: int, *, alone: bool = False) -> float:
        """Compute such a batch three times, and return the seconds of the fastest."""
        batch = self.tokenize([TextInput("a " * tokens)] * inputs, truncate=True)
        seconds = []
        for _ in range(3):
            started = time.perf_counter()
            self.run(batch, alone=alone)
            seconds.append(time.perf_counter() - started)
        return min(seconds)

    def tokenize(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        """Raises `InputTooLong` (unless `truncate`) and `InvalidInput`, `field` being the input's index."""
        return self._tokenizer(inputs, truncate=truncate)

    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        """One forward pass over the whole batch; see `ModelRunner.run`.

        The rows are views of one array for the batch: of embeddings or labels it is small, of token logits it
        lives no longer than the batch's last answer.
        """
        failure: OutOfMemory | DeviceLost
        threads = self._threads_alone if alone else self._threads
        if threads != torch.get_num_threads():
            torch.set_num_threads(threads)  # of the calling thread alone
        try:
            with torch.inference_mode():
                output, mask = self._forward(batch)
                return self._head.rows(output, mask, batch)
        except (torch.OutOfMemoryError, MemoryError):
            failure = _out_of_memory(batch)
        except torch.AcceleratorError as error:
            failure = DeviceLost(
                f"The GPU failed ({error}); restart the process, and check the GPU if it recurs."
            )
        except RuntimeError as error:
            if "can't allocate memory" not in str(error):
                raise
            failure = _out_of_memory(batch)
        # Not raised above: chained to the cause, it would keep the frames and their tensors in memory
        raise failure


def _out_of_memory(batch: Sequence[TokenizedInput]) -> OutOfMemory:
    longest = max(item.tokens for item in batch)
    return OutOfMemory(
        f"A batch of {len(batch)} inputs, the longest of {longest} tokens, does not fit into memory."
    )
