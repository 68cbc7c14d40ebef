"""What is on its way from a request to a worker: a job, and a place in the line for each of its inputs."""

import asyncio
from contextvars import Context
from dataclasses import dataclass

from app.errors import VitrineError
from app.models.runner import Row, TokenizedInput
from app.observer import RequestRecord


@dataclass(slots=True, eq=False)
class Job:
    """One request's inputs on their way through the line."""

    future: asyncio.Future[None]
    record: RequestRecord | None
    """Whose inputs they are; None for a job that is not a request (a canary)."""
    context: Context
    """The submitting task's context, for the observer."""
    rows: dict[int, Row]
    remaining: int

    def fail(self, error: VitrineError) -> None:
        """The first error is the job's; later ones change nothing."""
        if not self.future.done():
            self.future.set_exception(error)


@dataclass(slots=True, eq=False)
class Place:
    """One input's place in the line; see `app.batching` for what a turn is."""

    job: Job
    index: int
    item: TokenizedInput
    tokens: int
    turn: int
    deadline: float
