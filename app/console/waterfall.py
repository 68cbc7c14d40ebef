"""One request as bars on a line of time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.console.ring import Batch, Exchange, Inferred


@dataclass(frozen=True, slots=True)
class Bar:
    """A span of time; `start` counts from the request's, and both are seconds."""

    name: str
    """`receive`, one of `app.observer.STAGES`, or `send`; `handle` for a request without an inference."""
    start: float
    seconds: float
    cut: bool = False
    """The request ended in it."""


def stage_bars(exchange: Exchange) -> list[Bar]:
    """The stages that the request passed, end to end, from its arrival to its answer's last byte."""
    if exchange.inference is None:
        return [Bar("handle", 0.0, exchange.seconds)]
    return list(_bars(exchange, exchange.inference))


def _bars(exchange: Exchange, inferred: Inferred) -> Iterator[Bar]:
    stages = inferred.stages
    passed = (
        ("receive", stages.tokenize_started),
        ("tokenize", stages.queued),
        ("queue", stages.compute_started),
        ("compute", stages.computed),
        ("respond", stages.responded),
    )
    at = exchange.started
    for name, end in passed:
        cut = end is None or end > inferred.finished
        until = inferred.finished if end is None else min(end, inferred.finished)
        yield Bar(name, at - exchange.started, max(0.0, until - at), cut)
        at = until
        if cut:
            break
    yield Bar("send", at - exchange.started, exchange.finished - at)


def batch_bar(exchange: Exchange, batch: Batch, stage: Bar, name: str) -> Bar:
    """What of the batch falls into the stage."""
    start = max(batch.started - exchange.started, stage.start)
    end = min(batch.finished - exchange.started, stage.start + stage.seconds)
    return Bar(name, start, max(0.0, end - start), batch.finished > exchange.finished)


def document(exchange: Exchange) -> dict[str, Any]:
    """The same for programs; durations in seconds, `start` from the request's."""
    found: dict[str, Any] = {
        "request_id": exchange.request_id,
        "trace_id": exchange.trace_id,
        "method": exchange.method,
        "route": exchange.route,
        "status": exchange.status,
        "ended_at": exchange.ended_at,
        "seconds": exchange.seconds,
        "stages": stage_bars(exchange),
    }
    if inferred := exchange.inference:
        names = ("task", "outcome", "error", "reason", "inputs", "tokens", "truncated_inputs", "batch_count")
        found |= {name: getattr(inferred, name) for name in names}
        found["batches"] = [_described(exchange, batch) for batch in inferred.batches]
        found["ahead"] = [_described(exchange, batch) for batch in inferred.ahead]
    return found


def _described(exchange: Exchange, batch: Batch) -> dict[str, Any]:
    names = ("id", "reason", "inputs", "tokens", "padding_tokens", "failed_inputs", "requests", "members")
    return {
        "start": batch.started - exchange.started,
        "seconds": batch.finished - batch.started,
        **{name: getattr(batch, name) for name in names},
    }
