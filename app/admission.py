"""Who may come in. Admission never waits: a request is let in or refused at once, before any work on it.

Two things are bounded: how much admitted work there is (inputs, tokens, bytes: memory), and how long a
newcomer would have to wait for it (seconds, at the speed that was measured). Refusing early is what keeps the
promise made to those who are in.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType

from app.errors import DeadlineExceeded, Overloaded, RequestTooLarge

BYTES_PER_TOKEN = 4
"""English text in a WordPiece vocabulary; only used until the real count is known."""

MARGIN = 1.5
"""A prediction must fit this many times into the time that a request has, since it may be wrong."""

MEMORY = 0.98
"""The weight of the past per request, in how wrong predictions were: about the last fifty count."""

MOST_OPTIMISTIC = 2.0
"""The most that predictions are corrected by."""

SHED_FOR = 0.01
"""Seconds for which a refusal of everything holds: to look again costs more than to refuse."""

HOPELESS = 2.0
"""A request is hopeless if its own work is predicted to take this many times the time that it has left."""


@dataclass(frozen=True, slots=True)
class AdmissionLimits:
    """Bounds on one request and on all admitted requests together."""

    max_request_inputs: int
    max_inputs: int
    max_tokens: int
    max_bytes: int
    max_wait: float
    """Seconds that a newcomer may have to wait before its work begins."""


class Permit:
    """The right to have so much work in the server; given back on leaving the `with` block."""

    __slots__ = ("_admission", "admitted", "inputs", "predicted", "size", "tokens")

    def __init__(
        self, admission: "Admission", inputs: int, tokens: int, size: int, predicted: float, admitted: float
    ) -> None:
        self._admission = admission
        self.inputs = inputs
        self.tokens = tokens
        self.size = size
        self.predicted = predicted
        """The seconds that it was thought to take, waiting and own work."""
        self.admitted = admitted

    def counted(self, tokens: int) -> None:
        """Put the real number of tokens in the place of the estimate."""
        self._admission.tokens += tokens - self.tokens
        self.tokens = tokens

    def __enter__(self) -> "Permit":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._admission.give_back(self)


class Admission:
    """Counts the admitted work and refuses what would pass the limits."""

    def __init__(
        self,
        limits: AdmissionLimits,
        *,
        ahead_of: Callable[[int], tuple[int, int]],
        predict: Callable[[int, int], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`ahead_of` and `predict` are the batcher's: what a newcomer waits for, and the seconds it takes."""
        self.limits = limits
        self.inputs = 0
        self.tokens = 0
        self.size = 0
        self._ahead_of = ahead_of
        self._predict = predict
        self._clock = clock
        self._seconds_predicted = 0.0
        self._seconds_taken = 0.0
        self._shed: Overloaded | None = None
        self._shed_until = -math.inf

    def shed(self) -> Overloaded | None:
        """Why not even the smallest request would be let in now; None if it might."""
        now = self._clock()
        if now < self._shed_until:
            return self._shed
        try:
            self._refuse_overload(inputs=1, tokens=1, size=1)
        except Overloaded as error:
            self._shed, self._shed_until = error.with_traceback(None), now + SHED_FOR
            return self._shed
        return None

    def admit(self, sizes: list[int], max_tokens_per_input: int, seconds_left: float) -> Permit:
        """Let in a request with inputs of `sizes` bytes, which has `seconds_left` until its deadline.

        Raises `RequestTooLarge` if it passes the limits by itself, `DeadlineExceeded` if even an idle server
        could not finish it in time, and `Overloaded` if this server can't for the work that it has.
        """
        inputs = len(sizes)
        size = sum(sizes)
        tokens = sum(min(max_tokens_per_input, 2 + n // BYTES_PER_TOKEN) for n in sizes)
        self._refuse_too_large(inputs, tokens, size)

        own = self._predict(tokens, inputs)
        if own > HOPELESS * seconds_left:
            raise DeadlineExceeded(
                f"This work alone takes about {own:.2g} s, and its deadline is in {seconds_left:.2g} s: "
                "send fewer inputs at once, or allow more time with x-request-timeout-ms."
            )
        wait = self._refuse_overload(inputs, tokens, size)
        excess = MARGIN * self._optimism() * (wait + own) - seconds_left
        if self.inputs and excess > 0:
            raise self._overloaded("wait", excess)

        self.inputs += inputs
        self.tokens += tokens
        self.size += size
        return Permit(self, inputs, tokens, size, wait + own, self._clock())

    def give_back(self, permit: Permit) -> None:
        """Called once by the permit itself."""
        self.inputs -= permit.inputs
        self.tokens -= permit.tokens
        self.size -= permit.size
        self._seconds_predicted = MEMORY * self._seconds_predicted + permit.predicted
        self._seconds_taken = MEMORY * self._seconds_taken + self._clock() - permit.admitted

    def backlog_seconds(self) -> float:
        """Predicted seconds to finish all admitted work."""
        return self._predict(self.tokens, self.inputs)

    def _optimism(self) -> float:
        """How many times longer requests took of late than predicted; long ones weigh more.

        Between 1 and `MOST_OPTIMISTIC`: where little is predicted, what else a request takes is a multiple.
        """
        if not self._seconds_predicted:
            return 1.0
        return min(MOST_OPTIMISTIC, max(1.0, self._seconds_taken / self._seconds_predicted))

    def _refuse_overload(self, inputs: int, tokens: int, size: int) -> float:
        """Returns the seconds that a request of that size would wait. Raises `Overloaded`."""
        limits = self.limits
        for name, used, limit in (
            ("inputs", self.inputs + inputs, limits.max_inputs),
            ("tokens", self.tokens + tokens, limits.max_tokens),
            ("bytes", self.size + size, limits.max_bytes),
        ):
            if used > limit:
                wait = self._predict(self.tokens, self.inputs)
                raise self._overloaded(f"queue_{name}", wait * (used - limit) / used)
        wait = self._predict(*self._ahead_of(tokens))
        if self.inputs and wait > limits.max_wait:
            raise self._overloaded("wait", wait - limits.max_wait)
        return wait

    def _refuse_too_large(self, inputs: int, tokens: int, size: int) -> None:
        limits = self.limits
        for name, count, limit in (
            ("inputs", inputs, min(limits.max_request_inputs, limits.max_inputs)),
            ("tokens", tokens, limits.max_tokens),
            ("bytes", size, limits.max_bytes),
        ):
            if count > limit:
                raise RequestTooLarge(
                    f"The request has {count} {name}, and at most {limit} are allowed in one: split it.",
                    field="input",
                )

    @staticmethod
    def _overloaded(reason: str, retry_after: float) -> Overloaded:
        seconds = max(1, math.ceil(retry_after))
        return Overloaded(
            f"The server has as much work as it can finish in time: try again in {seconds} s.",
            reason=reason,
            retry_after=seconds,
        )
