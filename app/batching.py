"""Which of the waiting inputs run next. Pure: no asyncio, no clock of its own.

The line is ordered by *turn*, a number on the scale of tokens served so far. An input's turn is the count
of tokens that the server had served when its request came, plus the tokens of that request before it: a
request's inputs line up as though they had come one after another at the server's own pace. A text that comes
alone is thus served ahead of most of a request with a thousand texts that came before it, and nobody starves:
once the server has served as many tokens as a turn says, no newcomer gets ahead of it. This is start-time
fair queueing (Goyal et al., 1996) with each request a flow, and the tokens served as its virtual time.

Each batch holds the head of the line, so an input with `n` others ahead of it waits at most `n` batches,
and beside it those that come next, or, where a batch is padded, the inputs nearest to it in length.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar


class Reason(StrEnum):
    """Why a batch was let go with the inputs that it has."""

    DRAINED = "drained"
    """It took all that waited: the worker was free, and Vitrine never holds a free worker back."""
    SHARED = "shared"
    """Other workers are free, too: each takes its share of what waits."""
    MAX_INPUTS = "max_inputs"
    MAX_TOKENS = "max_tokens"
    LENGTHS = "lengths"
    """What still waits is too unlike in length: its padding would cost more than a batch of its own."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What one forward pass may hold."""

    max_inputs: int
    max_tokens: int
    """Padding included; a single input may pass it, since it can't be cut."""
    max_padding: int | None
    """The tokens of padding that one more input may bring: about what starting one more batch costs. None if
    batches are not padded: then lengths don't matter."""


class Waiting(Protocol):
    """An input in the line."""

    @property
    def tokens(self) -> int:
        """Its length."""
        ...

    @property
    def deadline(self) -> float:
        """When it is no use any more, on the clock of `now`."""
        ...


W = TypeVar("W", bound=Waiting)


@dataclass(frozen=True, slots=True)
class Release(Generic[W]):
    """The next batch, and who leaves the line without one."""

    batch: list[W]
    expired: list[W]
    reason: Reason


LOOKAHEAD = 8
"""How many batches' worth of the line is searched for inputs of near length: bounds the cost of a release."""


def take_batch(line: Sequence[W], now: float, limits: BatchLimits, *, workers: int = 1) -> Release[W]:
    """Choose the next batch from `line`, which is ordered by turn. `now` and deadlines are on one clock.

    `workers` are free to take from the line, the one that asks among them. The batch is empty only if no
    input in reach is alive. The caller takes batch and expired off the line.
    """
    alive: list[W] = []
    expired: list[W] = []
    for waiting in line:
        if waiting.deadline <= now:
            expired.append(waiting)
        else:
            alive.append(waiting)
            if len(alive) == limits.max_inputs * LOOKAHEAD:
                break
    if not alive:
        return Release([], expired, Reason.DRAINED)

    head, *others = alive
    if limits.max_padding is not None:
        # `sorted` is stable: among equals in length the earlier turn goes first.
        others = sorted(others, key=lambda waiting: abs(waiting.tokens - head.tokens))
    most = min(limits.max_inputs, math.ceil(len(alive) / workers))
    batch = [head]
    size = longest = head.tokens
    reason = Reason.DRAINED
    for waiting in others:
        if len(batch) == most:
            reason = Reason.MAX_INPUTS if most == limits.max_inputs else Reason.SHARED
            break
        longer = max(longest, waiting.tokens)
        grown = size + waiting.tokens if limits.max_padding is None else longer * (len(batch) + 1)
        if grown > limits.max_tokens:
            reason = Reason.MAX_TOKENS
            continue
        if limits.max_padding is not None and grown - size - waiting.tokens > limits.max_padding:
            reason = Reason.LENGTHS
            continue
        batch.append(waiting)
        size, longest = grown, longer
    return Release(batch, expired, reason)
