"""Real OTLP receivers on loopback, one for each protocol, which can be told to misbehave."""

import socket
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import grpc  # type: ignore[import-untyped]
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Received:
    """A span as it arrived."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    server: bool
    start: int
    end: int
    failed: bool
    attributes: dict[str, Any]
    links: list[tuple[str, str]]
    resource: dict[str, Any]

    @property
    def ids(self) -> tuple[str, str]:
        return self.trace_id, self.span_id

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / 1e9


class Collector:
    """What the receivers have in common: the spans, and the misbehaviour."""

    protocol: str

    def __init__(self) -> None:
        self.requests: list[ExportTraceServiceRequest] = []
        self.delay = 0.0
        """Seconds before each answer."""
        self.hangs = threading.Event()
        self.release = threading.Event()
        """Ends all hanging."""
        self.refuses = False

    @property
    def endpoint(self) -> str:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.release.set()
        self.close()

    def take(self, request: ExportTraceServiceRequest) -> bool:
        """Whether the request was taken."""
        if self.hangs.is_set():
            self.release.wait(30)
            return False
        time.sleep(self.delay)
        if not self.refuses:
            self.requests.append(request)
        return not self.refuses

    @property
    def spans(self) -> list[Received]:
        return [
            _received(span, resource.resource.attributes)
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def named(self, name: str) -> list[Received]:
        return [span for span in self.spans if span.name == name]

    @property
    def servers(self) -> list[Received]:
        return [span for span in self.spans if span.server]

    def children(self, parent: Received) -> dict[str, Received]:
        return {span.name: span for span in self.spans if (span.trace_id, span.parent_id) == parent.ids}


class HttpCollector(Collector):
    protocol = "http/protobuf"

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self._connections: list[socket.socket] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                collector._connections.append(self.connection)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                assert self.path == "/v1/traces"
                taken = collector.take(ExportTraceServiceRequest.FromString(body))
                self.send_response(200 if taken else 400)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing to say."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: Any) -> None:
                """Clients that give up are the rule here."""

        self._server = Server(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        for connection in self._connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)


class GrpcCollector(Collector):
    protocol = "grpc"

    def __init__(self) -> None:
        super().__init__()
        collector = self

        class Servicer(trace_service_pb2_grpc.TraceServiceServicer):
            def Export(self, request: ExportTraceServiceRequest, context: Any) -> ExportTraceServiceResponse:  # noqa: N802 - gRPC's name
                if not collector.take(request):
                    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not today")
                return ExportTraceServiceResponse()

        self._server = grpc.server(ThreadPoolExecutor(4))
        add = trace_service_pb2_grpc.add_TraceServiceServicer_to_server
        add(Servicer(), self._server)  # type: ignore[no-untyped-call]
        self._port = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        self._server.stop(grace=None).wait(5)


def _received(span: trace_pb2.Span, resource: Iterable[KeyValue]) -> Received:
    return Received(
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        server=span.kind == trace_pb2.Span.SPAN_KIND_SERVER,
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        attributes=_attributes(span.attributes),
        links=[(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        resource=_attributes(resource),
    )


def _attributes(attributes: Iterable[KeyValue]) -> dict[str, Any]:
    return {item.key: getattr(item.value, item.value.WhichOneof("value") or "") for item in attributes}
