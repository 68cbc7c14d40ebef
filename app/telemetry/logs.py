"""Logs: structlog for our own events, and everybody else's lines through the same pipeline.

Event names are static and facts are keywords, so that a log store can index them.
"""

import asyncio
import logging
import random
import sys
import time
from functools import lru_cache
from http import HTTPStatus
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from app.floods import FirstOfEachSecond
from app.observer import STAGES, BatchRecord, HttpRecord, RequestRecord


def configure_logs(level: str, log_format: str, stream: TextIO = sys.stdout) -> None:
    """Send structlog's, the standard library's and the warnings module's lines to `stream`.

    `log_format` is `json`, `console`, or `auto`: console on a terminal, json elsewhere.
    """
    if log_format == "auto":
        log_format = "console" if stream.isatty() else "json"
    shared: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.MaybeTimeStamper(fmt="iso", utc=True),
    ]
    render: list[Processor]
    if log_format == "json":
        # Without the frames' local variables, which hold what people sent.
        tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
        render = [
            structlog.processors.ExceptionRenderer(tracebacks),
            _without_request_errors_values,
            structlog.processors.JSONRenderer(_to_json),
        ]
    else:
        plain = structlog.dev.plain_traceback
        render = [structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=plain)]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=lambda *_: _Lines(stream),
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


class _Lines:
    """What structlog's WriteLogger is, but lines of one turn of the event loop are written together.

    The kernel is asked once for all of them, and whoever reads them is woken once.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def msg(self, line: str) -> None:
        self._lines.append(line + "\n")
        if len(self._lines) > 1:
            return
        try:
            asyncio.get_running_loop().call_soon(self._write)
        except RuntimeError:
            self._write()

    log = debug = info = warn = warning = error = critical = msg

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        self._stream.write("".join(lines))
        self._stream.flush()


def _to_json(event: EventDict, **_: Any) -> str:
    return orjson.dumps(event, default=repr).decode()


def _static_event(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """A line of a library is a sentence: it becomes the message of one event."""
    if not event["logger"].startswith("app."):
        event["message"] = event["event"]
        event["event"] = "warning" if event["logger"] == "py.warnings" else "library"
    return event


def _without_request_errors_values(_logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
    """The message of an error that ended a request may quote it; its type and place tell enough."""
    if event.get("logger") == "uvicorn.error":
        for error in event.get("exception", ()):
            error["exc_value"] = ""
    return event


class LogObserver:
    """One canonical `request` line for each HTTP exchange, or for a share of those of which there are many.

    Left out are only requests that went well in less than `slow` seconds, and refusals for overload (429)
    past the first `refusals` of a second: in a flood they tell nothing new, and cost the time of others.
    """

    def __init__(self, *, sample_ratio: float = 1.0, slow: float = 1.0, refusals: int = 10) -> None:
        """`sample_ratio` is the share of the former to write."""
        self._log = structlog.get_logger()
        self._sample_ratio = sample_ratio
        self._slow = slow
        self._refusals = FirstOfEachSecond(refusals)
        self._left_out = 0

    def http_finished(self, record: HttpRecord) -> None:
        """Write the line: warnings for the server's own failures, info for the rest."""
        if self._leaves_out(record):
            self._left_out += 1
            return
        facts: dict[str, Any] = {
            "request_id": record.request_id,
            "method": record.method,
            "route": record.route,
            "status": record.status,
            "duration_ms": _ms(record.finished - record.started),
            "timestamp": _iso(record.finished),
        }
        if record.trace_id:
            facts |= {"trace_id": record.trace_id, "span_id": record.span_id}
        if inference := record.inference:
            facts |= _inference_facts(inference)
        if self._left_out:
            facts["left_out"] = self._left_out
            self._left_out = 0
        write = self._log.warning if record.status >= 500 else self._log.info
        write("request", **facts)

    def _leaves_out(self, record: HttpRecord) -> bool:
        if record.status == HTTPStatus.TOO_MANY_REQUESTS:
            return not self._refusals.lets_pass(record.finished)
        if self._sample_ratio >= 1 or record.status >= 400 or record.finished - record.started >= self._slow:
            return False
        return random.random() >= self._sample_ratio  # noqa: S311 - nobody gains by guessing it

    def request_finished(self, record: RequestRecord) -> None:
        """Waits for `http_finished`, which carries the record."""

    def batch_finished(self, record: BatchRecord) -> None:
        """Batches are found by the ids in the requests' lines."""


_STAGE_MS = {stage: f"{stage}_ms" for stage in STAGES}


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
    for name, seconds in record.stages.durations().items():
        facts[_STAGE_MS[name]] = _ms(seconds)
    if record.batches:
        facts["batch_id"] = record.batches[0].id
        facts["batch_size"] = record.batches[0].inputs
        facts["batches"] = len(record.batches)
    return facts


def _iso(instant: float) -> str:
    """The time of day of an instant of `time.monotonic`, as the other lines have it."""
    second, microseconds = divmod(int((time.time() - time.monotonic() + instant) * 1e6), 1_000_000)
    return f"{_second(second)}.{microseconds:06}Z"


@lru_cache(4)
def _second(since_epoch: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(since_epoch))


def _ms(seconds: float) -> float:
    """To the microsecond: `round` takes three times as long."""
    return int(seconds * 1e6 + 0.5) / 1000
