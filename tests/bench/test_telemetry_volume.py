"""What telemetry sends away per request and per instance: what monitoring/capacity.py computes with."""

import re
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from urllib.request import Request, urlopen

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from monitoring.capacity import TELEMETRY
from tests.bench.conftest import Serve
from tests.bench.corpus import corpus
from tests.bench.load import BUILD, closed
from tests.live.prometheus import Prometheus

pytestmark = [pytest.mark.bench, pytest.mark.timeout(600)]
CLIENTS = 32
SECONDS = 10
TARGETS = 400
OPENMETRICS = {"accept": "application/openmetrics-text; version=1.0.0"}


class CountingCollector(BaseHTTPRequestHandler):
    """Counts spans and their bytes."""

    protocol_version = "HTTP/1.1"
    counts: ClassVar[Counter[str]] = Counter()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        sent = ExportTraceServiceRequest.FromString(body)
        self.counts["bytes"] += len(body)
        scopes = (scope for resource in sent.resource_spans for scope in resource.scope_spans)
        self.counts["spans"] += sum(len(scope.spans) for scope in scopes)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def test_spans_and_log_lines_of_a_request(serve: Serve, ask: Callable[..., Path]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), CountingCollector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        server = serve(OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{collector.server_port}")
        log = BUILD / "logs" / "vitrine.log"
        logged = log.stat().st_size
        measured = closed(ask(corpus(500)), server.port, clients=CLIENTS, seconds=SECONDS)
        time.sleep(6)  # spans are sent every five seconds
        collector.shutdown()
        thread.join()
    counts = CountingCollector.counts
    spans = counts["spans"] / measured.sent
    size = counts["bytes"] / counts["spans"]
    logs = (log.stat().st_size - logged) / measured.sent
    print(f"\na request: {spans:.2f} spans of {size:.0f} bytes, {logs:.0f} bytes of log")
    assert spans == pytest.approx(TELEMETRY.spans_per_request, rel=0.1)
    assert size == pytest.approx(TELEMETRY.bytes_per_span, rel=0.2)
    assert logs == pytest.approx(TELEMETRY.log_bytes_per_request, rel=0.2)


class Exposer(BaseHTTPRequestHandler):
    """Shows every scraper the same page."""

    page: ClassVar[bytes]
    kind: ClassVar[str]

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", self.kind)
        self.send_header("content-length", str(len(self.page)))
        self.end_headers()
        self.wfile.write(self.page)

    def log_message(self, *_: object) -> None: ...


def test_what_an_instance_costs_prometheus(serve: Serve, ask: Callable[..., Path], tmp_path: Path) -> None:
    server = serve()
    closed(ask(corpus(500)), server.port, clients=CLIENTS, seconds=5)
    with urlopen(Request(f"http://127.0.0.1:{server.port + 1}/metrics", headers=OPENMETRICS)) as reply:
        page, Exposer.kind = reply.read(), reply.headers["content-type"]
    Exposer.page = page
    with ThreadingHTTPServer(("127.0.0.1", 0), Exposer) as pages:
        thread = threading.Thread(target=pages.serve_forever)
        thread.start()
        empty, _ = scrape(pages.server_port, 1, tmp_path / "one")
        full, series = scrape(pages.server_port, TARGETS, tmp_path / "all")
        pages.shutdown()
        thread.join()
    per_instance = series / TARGETS
    per_series = (full - empty) / (series - per_instance)
    print(
        f"\nan instance: {per_instance:.0f} series, {len(page)} bytes a scrape; "
        f"{per_series:.0f} bytes of memory a series"
    )
    assert per_instance == pytest.approx(TELEMETRY.series_per_pod, rel=0.1)
    assert len(page) == pytest.approx(TELEMETRY.scrape_bytes, rel=0.2)
    assert per_series == pytest.approx(TELEMETRY.prometheus_bytes_per_series, rel=0.35)


def scrape(port: int, targets: int, folder: Path) -> tuple[float, float]:
    """Resident bytes and series of a Prometheus with so many targets, after two minutes of scrapes."""
    folder.mkdir()
    # As pods are told apart: by their own labels
    jobs = "".join(
        f'    - {{targets: ["127.0.0.1:{port}"], labels: {{pod: "vitrine-7c5d9f8b6d-{n:05}", '
        f'namespace: vitrine, instance: "10.0.{n // 250}.{n % 250}:9000"}}}}\n'
        for n in range(targets)
    )
    config = folder / "prometheus.yml"
    config.write_text(
        "global: {scrape_interval: 15s}\nscrape_configs:\n- job_name: vitrine\n  static_configs:\n" + jobs
    )
    with ThreadingHTTPServer(("127.0.0.1", 0), Exposer) as taken:
        own = taken.server_port
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{own}", "--log.level=error"]
    with subprocess.Popen([*command, "--enable-feature=exemplar-storage"]) as process:
        try:
            time.sleep(120)
            asked = Prometheus(f"http://127.0.0.1:{own}")
            ((_, series),) = asked.query('count({job="vitrine"})')
            status = Path(f"/proc/{process.pid}/status").read_text()
            resident = re.search(r"VmRSS:\s+(\d+) kB", status)
            assert resident
            return float(resident[1]) * 1024, series
        finally:
            process.terminate()
