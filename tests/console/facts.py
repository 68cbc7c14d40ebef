"""Facts as the core tells them, made up."""

from contextvars import copy_context
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from app.observer import BatchMember, BatchRecord, HttpRecord, Observer, RequestRecord, Stages

NOW = 10_000.0
"""Seconds of the monotonic clock, at the beginning of a minute less 20 s."""


@dataclass
class Teller:
    """Tells observers of requests, each in a batch of its own unless said otherwise."""

    observers: tuple[Observer, ...]
    batch_ids: Any = field(default_factory=lambda: count(1))

    def batch(self, *request_ids: str, started: float, seconds: float = 0.01, **values: Any) -> BatchRecord:
        members = tuple(BatchMember(request_id, 1, copy_context()) for request_id in request_ids)
        inputs = len(members)
        facts = {"inputs": inputs, "tokens": 10 * inputs, "padding_tokens": 2 * inputs, **values}
        record = BatchRecord(
            id=next(self.batch_ids),
            model="fake",
            reason="drained",
            started=started,
            finished=started + seconds,
            members=members,
            **facts,
        )
        for observer in self.observers:
            observer.batch_finished(record)
        return record

    def answered(
        self, request_id: str, ended: float = NOW, seconds: float = 0.02, batches: Any = None, **values: Any
    ) -> HttpRecord:
        """An inference: half of it is compute, and a tenth each other stage."""
        tenth = seconds / 10
        arrived = ended - seconds
        record = RequestRecord(request_id, "fake", "embeddings", arrived, inputs=1, tokens=10, outcome="ok")
        record.stages = Stages(arrived + tenth, arrived + 2 * tenth)
        if batches is None:
            batches = [self.batch(request_id, started=arrived + 3 * tenth, seconds=5 * tenth)]
        for batch in batches:
            record.ran_in(batch)
        record.stages.responded = record.finished = ended - tenth
        return self.exchange(request_id, ended, seconds, inference=record, **values)

    def gave_up(self, request_id: str, ended: float, seconds: float, outcome: Any = "expired") -> HttpRecord:
        """An inference whose inputs lined up at once, and whose deadline passed before its batch ended."""
        record = RequestRecord(
            request_id, "fake", "embeddings", ended - seconds, ended, outcome, "deadline_exceeded"
        )
        record.inputs, record.tokens = 1, 10
        record.stages = Stages(ended - seconds, ended - seconds)
        return self.exchange(request_id, ended, seconds, 504, inference=record)

    def exchange(
        self,
        request_id: str,
        ended: float = NOW,
        seconds: float = 0.001,
        status: int = 200,
        inference: RequestRecord | None = None,
        **values: Any,
    ) -> HttpRecord:
        facts = {"method": "POST", "route": "/v1/embeddings", **values}
        record = HttpRecord(
            status=status,
            request_id=request_id,
            started=ended - seconds,
            finished=ended,
            inference=inference,
            **facts,
        )
        for observer in self.observers:
            if inference:
                observer.request_finished(inference)
            observer.http_finished(record)
        return record


def ids(exchanges: Any) -> list[str]:
    return [exchange.request_id for exchange in exchanges]
