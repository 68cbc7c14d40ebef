"""The story of one inference request: admit, tokenize, line up, await, respond, and say how it went."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from app.admission import Admission
from app.batcher import Batcher
from app.context import RequestContext
from app.errors import (
    DeadlineExceeded,
    ModelNotFound,
    Overloaded,
    TaskNotSupported,
    Unavailable,
    VitrineError,
)
from app.models.runner import Input, ModelInfo, ModelRunner, Row, Task, TextInput, TokenizedInput
from app.observer import Observer, RequestRecord
from app.tokenizing import Tokenizing

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answer:
    """What the model said, before a protocol puts it into words."""

    info: ModelInfo
    inputs: Sequence[TokenizedInput]
    rows: Sequence[Row]
    """One for each input; see `app.models.runner.Row`."""

    @property
    def tokens(self) -> int:
        """Tokens that the model read, padding left out."""
        return sum(item.tokens for item in self.inputs)


class Inference:
    """Answers requests with one model."""

    def __init__(
        self,
        runner: ModelRunner,
        tokenize: Tokenizing,
        batcher: Batcher,
        admission: Admission,
        observer: Observer,
        *,
        name: str,
        truncate: bool,
        refusal: Callable[[], str | None],
    ) -> None:
        """`name` is the model's public one, and `truncate` says what to do when a request does not.

        `refusal` gives the reason for taking no work now, such as "starting", or None.
        """
        self._runner = runner
        self._tokenize = tokenize
        self._batcher = batcher
        self._admission = admission
        self._observer = observer
        self._name = name
        self._truncate = truncate
        self._refusal = refusal

    @property
    def info(self) -> ModelInfo:
        """The served model. Raises `Unavailable` while it loads."""
        if self._refusal() == "starting":
            raise Unavailable("The model is still loading: try again shortly.", reason="starting")
        return self._runner.info

    async def infer(
        self,
        context: RequestContext,
        task: Task,
        inputs: Sequence[Input],
        respond: Callable[[Answer], T],
        *,
        model: str | None = None,
        truncate: bool | None = None,
    ) -> T:
        """Answer `inputs` with what `respond` makes of the rows.

        Raises `VitrineError`s: see `app.errors`. If the caller's task is cancelled, its client having gone,
        work that has not begun is dropped.
        """
        record = self._begin(context, task, len(inputs))
        stages = record.stages
        try:
            info = self._model_for(task, model)
            left = context.deadline - time.monotonic()
            with self._admission.admit([_size(item) for item in inputs], info.max_tokens, left) as permit:
                async with asyncio.timeout(left):
                    stages.tokenize_started = time.monotonic()
                    truncate = self._truncate if truncate is None else truncate
                    items = await self._tokenize(inputs, truncate=truncate)
                    record.tokens = sum(item.tokens for item in items)
                    record.truncated_inputs = sum(item.truncated for item in items)
                    permit.counted(record.tokens)
                    stages.queued = time.monotonic()
                    rows = await self._batcher.submit(items, context.deadline, record)
                answer = respond(Answer(info, items, rows))
                stages.responded = time.monotonic()
            record.outcome = "ok"
            return answer
        except TimeoutError:
            late = DeadlineExceeded("The deadline passed before the answer was ready.")
            _blame(record, late)
            raise late from None
        except asyncio.CancelledError:
            record.outcome, record.error = "cancelled", "client_gone"
            raise
        except VitrineError as error:
            _blame(record, error)
            raise
        except Exception:
            record.error = VitrineError.code
            raise
        finally:
            self._finish(record)

    def shed(self, task: Task | None) -> Overloaded | None:
        """Why a request for `task`, or the model's own, is to be refused of which only the head is known.

        None if it may be let in, or has another fault than coming now.
        """
        if self._refusal() or task not in {None, self._runner.info.task}:
            return None
        return self._admission.shed()

    def refuse(self, context: RequestContext, task: Task | None, error: VitrineError) -> None:
        """Record a request for `task`, or the model's own, that never came to `infer`."""
        record = self._begin(context, task or self._runner.info.task, 0)
        _blame(record, error)
        self._finish(record)

    def _begin(self, context: RequestContext, task: Task, inputs: int) -> RequestRecord:
        record = RequestRecord(context.request_id, self._name, task, context.arrived, inputs=inputs)
        context.record = record
        return record

    def _finish(self, record: RequestRecord) -> None:
        record.finished = time.monotonic()
        self._observer.request_finished(record)

    def _model_for(self, task: Task, model: str | None) -> ModelInfo:
        if refusal := self._refusal():
            raise Unavailable(
                f"The server is {refusal} and takes no work: try again shortly.", reason=refusal
            )
        if model is not None and model != self._name:
            raise ModelNotFound(
                f"This model is not served here; the one that is: {self._name}.", field="model"
            )
        info = self._runner.info
        if task is not info.task:
            raise TaskNotSupported(f"The model {info.name} does not do {task}; what it does: {info.task}.")
        return info


def _size(item: Input) -> int:
    """Characters, which are the bytes of a Latin text; in other scripts one is about a token."""
    if isinstance(item, TextInput):
        return len(item.text) + len(item.pair or "")
    return 4 * len(item.ids)


def _blame(record: RequestRecord, error: VitrineError) -> None:
    record.outcome = error.outcome
    record.error = error.code
    record.reason = getattr(error, "reason", None)
