"""A tracer for the instrumentation of FastAPI, whose spans cost a fraction of the SDK's.

The SDK's spans may be written and read by several threads at once: each attribute is checked, copied and set
under a lock. A server span is written by one task, and nobody reads it before its end.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import Decision, SamplingResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags
from opentelemetry.util.types import Attributes, AttributeValue

from app.telemetry.encoding import (
    EncodedSpan,
    Origin,
    SpanSink,
    encode_attributes,
    encode_head,
    encode_kin,
    encode_span,
)

ALWAYS = ("AlwaysOnSampler", "ParentBased{root:AlwaysOnSampler,")
"""How samplers that take each new trace describe themselves; by default it is the latter."""


class ServerTracerProvider(trace.TracerProvider):
    """Its tracers sample as OTEL_TRACES_SAMPLER says, and hand ended spans to a sink."""

    def __init__(self, resource: Resource, sink: SpanSink | None) -> None:
        """Without a sink spans have ids and no more. Raises ValueError if a variable is wrong."""
        sdk = TracerProvider(resource=resource, shutdown_on_exit=False)
        self.sampler = sdk.sampler
        self.samples_new_traces = sdk.sampler.get_description().startswith(ALWAYS)
        self.ids = sdk.id_generator
        self.resource = resource
        self.sink = sink

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Attributes = None,
    ) -> "ServerTracer":
        """As the API has it."""
        scope = InstrumentationScope(instrumenting_module_name, instrumenting_library_version, schema_url)
        return ServerTracer(self, Origin(self.resource, scope))


class ServerTracer(trace.Tracer):
    """Starts spans as the SDK's tracer does, but for links and events, which server spans have none of."""

    def __init__(self, provider: ServerTracerProvider, origin: Origin) -> None:
        self._provider = provider
        self._origin = origin

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> trace.Span:
        """A child of the context's span, or the root of a new trace."""
        provider = self._provider
        parent: SpanContext | None = trace.get_current_span(context).get_span_context()
        if parent is None or not parent.is_valid:
            parent = None
            trace_id = provider.ids.generate_trace_id()
            flags = TraceFlags.RANDOM_TRACE_ID
        else:
            trace_id = parent.trace_id
            flags = parent.trace_flags & TraceFlags.RANDOM_TRACE_ID
        if parent is None and provider.samples_new_traces:
            # Without being asked, since it would look for a parent three more times
            sampling = SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        else:
            sampling = provider.sampler.should_sample(context, trace_id, name, kind, attributes, links)
        if sampling.decision.is_sampled():  # type: ignore[no-untyped-call]
            flags |= TraceFlags.SAMPLED
        own = SpanContext(
            trace_id, provider.ids.generate_span_id(), False, TraceFlags(flags), sampling.trace_state
        )
        recording: bool = sampling.decision.is_recording()  # type: ignore[no-untyped-call]
        if provider.sink is None or not recording:
            return NonRecordingSpan(own)
        span = ServerSpan(provider.sink, self._origin, name, own, parent, kind, start_time or time.time_ns())
        if sampling.attributes:
            span.set_attributes(sampling.attributes)
        return span

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # the API's kind of context manager is its own
        self, name: str, *args: Any, end_on_exit: bool = True, **kwargs: Any
    ) -> Iterator[trace.Span]:
        """As the API has it."""
        with trace.use_span(self.start_span(name, *args, **kwargs), end_on_exit) as span:
            yield span


class ServerSpan(trace.Span):
    """A span that is being written. It keeps no events, since exceptions' messages may quote a text."""

    def __init__(
        self,
        sink: SpanSink,
        origin: Origin,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        start_time: int,
    ) -> None:
        self._sink = sink
        self._origin = origin
        self._context = context
        self._parent = parent
        self._start_time = start_time
        self._status = StatusCode.UNSET
        self._attributes: dict[str, AttributeValue] = {}
        self._ended = False
        self.name = name
        self.kind = kind

    def get_span_context(self) -> SpanContext:
        """Its ids."""
        return self._context

    def is_recording(self) -> bool:
        """Until it ends."""
        return not self._ended

    def set_attribute(self, key: str, value: AttributeValue) -> None:
        """The last value of a key counts."""
        self._attributes[key] = value

    def set_attributes(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Several at once."""
        self._attributes.update(attributes)

    def update_name(self, name: str) -> None:
        """Another name than it was started with."""
        self.name = name

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """Without the description, which may quote a text."""
        code = status.status_code if isinstance(status, Status) else status
        if code is not StatusCode.UNSET and self._status is not StatusCode.OK:
            self._status = code

    def add_event(self, name: str, attributes: Attributes = None, timestamp: int | None = None) -> None:
        """Not kept."""

    def record_exception(
        self,
        exception: BaseException,
        attributes: Attributes = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Not kept."""

    def end(self, end_time: int | None = None) -> None:
        """Hand it to the sink, once, if it is sampled."""
        if self._ended:
            return
        self._ended = True
        if not self._context.trace_flags.sampled:
            return
        message = encode_span(
            encode_kin(self._context, self._parent),
            self._context.span_id,
            encode_head(self.name, self.kind, self._status),
            self._start_time,
            end_time or time.time_ns(),
            encode_attributes(self._attributes),
        )
        self._sink.put(EncodedSpan(self._origin, message))
