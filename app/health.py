"""Started, ready, live: what the probes and the console are told, each with its reason."""

import time
from collections.abc import Callable
from enum import StrEnum


class Phase(StrEnum):
    """Where the process is in its life; it only ever moves forward."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    FAILED = "failed"


class Health:
    """Keeps the phase, and asks for the model's last success when a probe comes."""

    def __init__(self, *, last_success: Callable[[], float | None], success_within: float) -> None:
        """`last_success` says when the model last gave a row (`time.monotonic`).

        One longer ago than `success_within` seconds makes the server unready.
        """
        self.phase = Phase.STARTING
        self.detail = "the model is loading"
        self._last_success = last_success
        self._success_within = success_within
        self._conditions: list[Callable[[], str | None]] = []

    def require(self, condition: Callable[[], str | None]) -> None:
        """Make readiness hang on one more thing, that gives the reason when it does not hold."""
        self._conditions.append(condition)

    def move(self, phase: Phase, detail: str) -> None:
        """Enter a phase; `detail` is the reason that probes give in it."""
        self.phase = phase
        self.detail = detail

    def refusal(self) -> str | None:
        """Why no inference is taken at all, in one word; None while it is."""
        return None if self.phase in {Phase.SERVING, Phase.DRAINING} else self.phase.value

    def started(self) -> str | None:
        """None once the model is loaded and warm, else the reason."""
        return self.detail if self.phase is Phase.STARTING else self.live()

    def ready(self) -> str | None:
        """None if a request sent now would be answered, else the reason."""
        if self.phase is not Phase.SERVING:
            return self.detail
        last = self._last_success()
        if last is None or time.monotonic() - last > self._success_within:
            return f"the model has given no answer for {self._success_within:g} s"
        return next((reason for condition in self._conditions if (reason := condition())), None)

    def live(self) -> str | None:
        """None unless only a restart helps. That the event loop turns is shown by the reply itself."""
        return self.detail if self.phase is Phase.FAILED else None
