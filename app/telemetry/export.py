"""Spans on their way out: in the background, bounded in number, and every one of them counted."""

import logging
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from opentelemetry.metrics import NoOpMeterProvider
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from app.telemetry.encoding import EncodedSpan

logger = logging.getLogger(__name__)

QUEUE_SIZE = 2048
"""Spans that may wait to be sent; OTEL_BSP_MAX_QUEUE_SIZE changes it. OpenTelemetry's default."""


@dataclass(slots=True)
class ExportCounts:
    """What has become of the sampled spans so far."""

    exported: int = 0
    failed: int = 0
    """Sent in vain: the collector refused them, or did not answer."""
    dropped: int = 0
    """Never sent: too many waited already, or the process ended."""
    last_success: float | None = None
    """When the collector last took some, in seconds of Unix time."""


class ExportQueue:
    """The library's queue and thread, and counts what there is no room for.

    The library's own forgets its oldest span then, with a line in the log; this one turns the newest away.
    Spans come from the event loop's thread alone, so that each counter has one writer.
    """

    def __init__(self, exporter: SpanExporter, counts: ExportCounts) -> None:
        """Takes the OTEL_BSP_* variables. Raises ValueError if one of them is wrong."""
        self._counts = counts
        self._exporter = _CountingExporter(exporter, counts)
        self._size = int(os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE) or QUEUE_SIZE)
        self._accepted = 0
        self._closed = False
        self._processor = BatchSpanProcessor(self._exporter, self._size, meter_provider=NoOpMeterProvider())

    @property
    def waiting(self) -> int:
        """Spans that the exporter hasn't taken yet."""
        return self._accepted - self._exporter.taken

    def put(self, span: EncodedSpan) -> None:
        """Take it if there is room."""
        if self._closed or self.waiting >= self._size:
            self._counts.dropped += 1
            return
        self._accepted += 1
        self._processor.on_end(cast(ReadableSpan, span))

    def flush(self) -> None:
        """Send what waits, as long as that may take, and take no more."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]  # the SDK's method has no types

    def abandon(self) -> int:
        """Send no more, and return how many spans are lost by that."""
        self._closed = True
        self._exporter.shutdown()
        lost = self.waiting
        self._counts.dropped += lost
        return lost


class _CountingExporter(SpanExporter):
    """Counts what another exporter achieves, and speaks up when that begins and ends to fail."""

    def __init__(self, exporter: SpanExporter, counts: ExportCounts) -> None:
        self.taken = 0
        self._exporter = exporter
        self._counts = counts
        self._failing = False
        self._shut_down = False
        _complaints.listen()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Called from the queue's thread, one batch at a time."""
        if self._shut_down:
            return SpanExportResult.FAILURE
        self.taken += len(spans)
        _complaints.first = None
        try:
            result = self._exporter.export(spans)
        except Exception as error:  # noqa: BLE001 - whatever it is, the queue's thread must live on
            _complaints.first = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        if result is SpanExportResult.SUCCESS:
            self._counts.exported += len(spans)
            self._counts.last_success = time.time()
        else:
            self._counts.failed += len(spans)
        self._tell(failing=result is not SpanExportResult.SUCCESS)
        return result

    def _tell(self, *, failing: bool) -> None:
        if failing and not self._failing:
            logger.warning("span_export_failing", extra={"reason": _complaints.first})
        elif self._failing and not failing:
            logger.info("span_export_recovered", extra={"failed": self._counts.failed})
        self._failing = failing

    def shutdown(self) -> None:
        if not self._shut_down:
            self._shut_down = True
            self._exporter.shutdown()


class _Complaints(logging.Handler):
    """Keeps the exporters' lines, one for each attempt and more, out of the log, and what the first said."""

    first: str | None = None

    def listen(self) -> None:
        exporters = logging.getLogger("opentelemetry.exporter")
        exporters.propagate = False
        exporters.addHandler(self)

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


_complaints = _Complaints(logging.WARNING)
