"""Inputs to tokens beside the event loop, on one thread for all requests.

To hand work to a thread and back costs more than to tokenize a text. So each turn of the thread takes all
that has come since the last one began, and where there is a long line to join, it begins a little later.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from itertools import islice

from app.errors import InvalidInput
from app.handoff import run_on
from app.models.runner import Input, ModelRunner, TokenizedInput

CHUNK = 32
"""Inputs of one request per turn, so that a request with thousands lets others in between."""

LONG_LINE = 0.25
GATHERING = 0.01
"""Seconds of work before a newcomer from which on a turn is put off, and seconds for which it is."""


@dataclass(slots=True, eq=False)
class _Chunk:
    inputs: Sequence[Input]
    truncate: bool
    future: asyncio.Future[list[TokenizedInput]]


_Outcomes = list[list[TokenizedInput] | Exception]


class Tokenizing:
    """Hands inputs to the model's tokenizer."""

    def __init__(
        self, runner: ModelRunner, thread: Executor, backlog: Callable[[], float] = lambda: 0.0
    ) -> None:
        """`thread` is of one thread, and `backlog` says how many seconds of work there are."""
        self._runner = runner
        self._thread = thread
        self._backlog = backlog
        self._waiting: list[_Chunk] = []
        self._busy = False

    async def __call__(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        """Raises what the runner's `tokenize` raises. Cancelled, it leaves what has not been begun."""
        loop = asyncio.get_running_loop()
        items: list[TokenizedInput] = []
        for start in range(0, len(inputs), CHUNK):
            chunk = _Chunk(inputs[start : start + CHUNK], truncate, loop.create_future())
            self._waiting.append(chunk)
            if not self._busy:
                self._busy = True
                if self._backlog() > LONG_LINE:
                    loop.call_later(GATHERING, self._begin_turn)
                else:
                    # Once what else is ready to run has run: it may have more for this turn.
                    loop.call_soon(self._begin_turn)
            try:
                items += await chunk.future
            except InvalidInput as error:
                if error.field is not None:
                    error.field = str(start + int(error.field))  # the runner counts within the chunk
                raise
        return items

    def _begin_turn(self) -> None:
        chunks = [chunk for chunk in self._waiting if not chunk.future.done()]
        self._waiting = []
        self._busy = bool(chunks)
        if chunks:
            turn = run_on(self._thread, self._tokenize, chunks)
            turn.add_done_callback(partial(self._end_turn, chunks))

    def _tokenize(self, chunks: Sequence[_Chunk]) -> _Outcomes:
        """On the thread."""
        outcomes: dict[_Chunk, list[TokenizedInput] | Exception] = {}
        for truncate in (True, False):
            outcomes |= self._tokenize_alike([chunk for chunk in chunks if chunk.truncate is truncate])
        return [outcomes[chunk] for chunk in chunks]

    def _tokenize_alike(self, chunks: Sequence[_Chunk]) -> Mapping[_Chunk, list[TokenizedInput] | Exception]:
        """In one call, after which the thread asks once for the interpreter's lock and not once for each."""
        if not chunks:
            return {}
        inputs = [item for chunk in chunks for item in chunk.inputs]
        try:
            items = iter(self._runner.tokenize(inputs, truncate=chunks[0].truncate))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is that request's alone
            if len(chunks) == 1:
                return {chunks[0]: error}
            return {chunk: self._tokenize_alike([chunk])[chunk] for chunk in chunks}
        return {chunk: list(islice(items, len(chunk.inputs))) for chunk in chunks}

    def _end_turn(self, chunks: Sequence[_Chunk], turn: asyncio.Future[_Outcomes]) -> None:
        for chunk, outcome in zip(chunks, turn.result(), strict=True):
            if chunk.future.done():
                continue
            if isinstance(outcome, Exception):
                chunk.future.set_exception(outcome)
            else:
                chunk.future.set_result(outcome)
        self._begin_turn()
