"""Logs: structlog for our own events, and everybody else's lines through the same pipeline.

Event names are static and facts are keywords, so that a log store can index them.
"""

import logging
import sys
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.observer import BatchRecord, HttpRecord, RequestRecord


def configure_logs(level: str, log_format: str, stream: TextIO = sys.stdout) -> None:
    """Send structlog's, the standard library's and the warnings module's lines to `stream`.

    `log_format` is `json`, `console`, or `auto`: console on a terminal, json elsewhere.
    """
    if log_format == "auto":
        log_format = "console" if stream.isatty() else "json"
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor]
    if log_format == "json":
        render = [structlog.processors.dict_tracebacks, structlog.processors.JSONRenderer(_to_json)]
    else:
        render = [structlog.dev.ConsoleRenderer(colors=stream.isatty())]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name, structlog.stdlib.ExtraAdder()],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _static_event, *render],
        )
    )
    logging.basicConfig(level=threshold, handlers=[handler], force=True)
    logging.captureWarnings(capture=True)


def _to_json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=repr).decode()


def _static_event(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """A line of a library is a sentence: it becomes the message of one event."""
    if not event["logger"].startswith("app."):
        event["message"] = event["event"]
        event["event"] = "warning" if event["logger"] == "py.warnings" else "library"
    return event


class LogObserver:
    """One canonical `request` line for each HTTP exchange."""

    def __init__(self) -> None:
        self._log = structlog.get_logger()

    def http_finished(self, record: HttpRecord) -> None:
        """Write the line: warnings for the server's own failures, info for the rest."""
        facts: dict[str, Any] = {
            "request_id": record.request_id,
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "duration_ms": _ms(record.finished - record.started),
        }
        if record.trace_id:
            facts |= {"trace_id": record.trace_id, "span_id": record.span_id}
        if inference := record.inference:
            facts |= _inference_facts(inference)
        write = self._log.warning if record.status >= 500 else self._log.info
        write("request", **facts)

    def request_finished(self, record: RequestRecord) -> None:
        """Waits for `http_finished`, which carries the record."""

    def batch_finished(self, record: BatchRecord) -> None:
        """Batches are found by the ids in the requests' lines."""


def _inference_facts(record: RequestRecord) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "model": record.model,
        "task": record.task,
        "outcome": record.outcome,
        "inputs": record.inputs,
        "tokens": record.tokens,
    }
    if record.error:
        facts["error"] = record.error
    if record.reason:
        facts["reason"] = record.reason
    if record.truncated_inputs:
        facts["truncated_inputs"] = record.truncated_inputs
    facts |= {f"{name}_ms": _ms(seconds) for name, seconds in record.stages.durations().items()}
    if record.batches:
        facts["batch_id"] = record.batches[0].id
        facts["batch_size"] = record.batches[0].inputs
        facts["batches"] = len(record.batches)
    return facts


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
