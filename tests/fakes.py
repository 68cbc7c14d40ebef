"""Stand-ins for the model and the observer: tests call the same composition root as production does."""

import threading
import time
from collections.abc import Sequence

import numpy as np

from app.errors import InputTooLong
from app.models.runner import Input, ModelInfo, Row, Task, TextInput, TokenizedInput
from app.observer import BatchRecord, HttpRecord, RequestRecord

FAIL = "fail-on-this"
NAN = "nan-on-this"
DIMENSIONS = 8


class FakeRunner:
    """A model of words: each word is one token, and a row depends on its own text alone."""

    batch_tokens = 1_000_000

    def __init__(
        self,
        task: Task = Task.EMBEDDINGS,
        *,
        start: float = 0.0,
        per_token: float = 0.0,
        device: str = "cpu",
        concurrency: int = 1,
    ) -> None:
        """A batch takes `start` seconds and `per_token` for each token."""
        self.concurrency = concurrency
        self.info = ModelInfo(
            name="fake",
            task=task,
            source="fake",
            revision=None,
            architecture="FakeModel",
            device=device,
            dtype="float32",
            max_tokens=256,
            dimensions=DIMENSIONS if task is Task.EMBEDDINGS else None,
            labels=() if task is Task.EMBEDDINGS else ("no", "yes"),
        )
        self.start = start
        self.per_token = per_token
        self.batches: list[list[int]] = []
        """The lengths of the inputs of each batch that ran."""
        self.alone: list[bool] = []
        """Which of them had all cores."""
        self.hold = threading.Event()
        """Cleared, batches do not begin."""
        self.hold.set()
        self.dies_of: BaseException | None = None
        self.load_error: Exception | None = None

    def load(self) -> None:
        if self.load_error:
            raise self.load_error

    def warm_up(self) -> None:
        """Fakes are always warm."""

    def tokenize(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        items = []
        for item in inputs:
            text = item.text if isinstance(item, TextInput) else " ".join(map(str, item.ids))
            words = [hash(word) for word in text.split()] or [0]
            too_long = len(words) > self.info.max_tokens
            if too_long and not truncate:
                raise InputTooLong("too long", field="0")
            words = words[: self.info.max_tokens]
            items.append(TokenizedInput(words, [0] * len(words), too_long, text))
        return items

    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        self.hold.wait(30)
        if self.dies_of:
            raise self.dies_of
        self.batches.append([item.tokens for item in batch])
        self.alone.append(alone)
        time.sleep(self.start + self.per_token * sum(item.tokens for item in batch))
        if any(FAIL in item.text for item in batch):
            raise ValueError("one of these is bad")
        return [self.row(item.text) for item in batch]

    def row(self, text: str) -> Row:
        """What the model says of `text`."""
        if NAN in text:
            return np.full(DIMENSIONS, np.nan, np.float32)
        seed = abs(hash(text)) % 2**32
        return np.random.default_rng(seed).standard_normal(DIMENSIONS).astype(np.float32)


class RecordingObserver:
    """Keeps every fact."""

    def __init__(self) -> None:
        self.exchanges: list[HttpRecord] = []
        self.requests: list[RequestRecord] = []
        self.batches: list[BatchRecord] = []

    def http_finished(self, record: HttpRecord) -> None:
        self.exchanges.append(record)

    def request_finished(self, record: RequestRecord) -> None:
        self.requests.append(record)

    def batch_finished(self, record: BatchRecord) -> None:
        self.batches.append(record)
