"""Inputs to tokens beside the event loop, on one thread for all requests.

To hand work to a thread and back costs more than to tokenize a text. So each turn of the thread takes all
that has come since the last one began.
"""

import asyncio
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass

from app.errors import InvalidInput
from app.models.runner import Input, ModelRunner, TokenizedInput

CHUNK = 32
"""Inputs of one request per turn, so that a request with thousands lets others in between."""


@dataclass(slots=True, eq=False)
class _Chunk:
    inputs: Sequence[Input]
    truncate: bool
    future: asyncio.Future[list[TokenizedInput]]


_Outcomes = list[list[TokenizedInput] | Exception]


class Tokenizing:
    """Hands inputs to the model's tokenizer."""

    def __init__(self, runner: ModelRunner, thread: Executor) -> None:
        """`thread` is of one thread."""
        self._runner = runner
        self._thread = thread
        self._waiting: list[_Chunk] = []
        self._turn: asyncio.Future[_Outcomes] | None = None

    async def __call__(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        """Raises what the runner's `tokenize` raises. Cancelled, it leaves what has not been begun."""
        loop = asyncio.get_running_loop()
        items: list[TokenizedInput] = []
        for start in range(0, len(inputs), CHUNK):
            chunk = _Chunk(inputs[start : start + CHUNK], truncate, loop.create_future())
            self._waiting.append(chunk)
            if self._turn is None:
                self._begin_turn()
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
        if not chunks:
            self._turn = None
            return
        loop = asyncio.get_running_loop()
        self._turn = loop.run_in_executor(self._thread, self._tokenize, chunks)
        self._turn.add_done_callback(lambda turn: self._end_turn(chunks, turn))

    def _tokenize(self, chunks: Sequence[_Chunk]) -> _Outcomes:
        """On the thread."""
        outcomes: _Outcomes = []
        for chunk in chunks:
            try:
                outcomes.append(self._runner.tokenize(chunk.inputs, truncate=chunk.truncate))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is that request's alone
                outcomes.append(error)
        return outcomes

    def _end_turn(self, chunks: Sequence[_Chunk], turn: asyncio.Future[_Outcomes]) -> None:
        for chunk, outcome in zip(chunks, turn.result(), strict=True):
            if chunk.future.done():
                continue
            if isinstance(outcome, Exception):
                chunk.future.set_exception(outcome)
            else:
                chunk.future.set_result(outcome)
        self._begin_turn()
