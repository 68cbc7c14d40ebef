"""What the server knows of one HTTP request before it looks into the body."""

from dataclasses import dataclass

from app.observer import RequestRecord


@dataclass(slots=True)
class RequestContext:
    """Made once per HTTP request and carried in its scope's state. Instants are `time.monotonic` seconds."""

    request_id: str
    arrived: float
    deadline: float
    record: RequestRecord | None = None
    """The inference's record, from the moment that an inference begins."""
    trace_id: str | None = None
    """Of its server span, in hexadecimal; None if tracing is off."""
    span_id: str | None = None
