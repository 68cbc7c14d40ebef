"""From a metric to a trace to a log line."""

import asyncio

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.samples import Exemplar

from tests.running import Running, running
from tests.tracing.collector import HttpCollector
from tests.tracing.conftest import Export, Log

pytestmark = pytest.mark.anyio


async def exemplars(service: Running, metric: str) -> list[Exemplar]:
    response = await service.client.get(
        f"{service.ops_url}/metrics", headers={"accept": "application/openmetrics-text"}
    )
    families = text_string_to_metric_families(response.text)  # type: ignore[no-untyped-call]
    samples = next(family for family in families if family.name == metric).samples
    return [sample.exemplar for sample in samples if sample.exemplar]


@pytest.mark.parametrize("metric", ["inference_request_duration_seconds", "inference_stage_duration_seconds"])
async def test_an_exemplar_leads_to_its_trace_and_to_its_log_line(
    metric: str, http: HttpCollector, export: Export, log: Log
) -> None:
    export(http)
    async with running() as service:
        replies = await asyncio.gather(*(service.embed(f"text {number}") for number in range(8)))
        found = await exemplars(service, metric)
    assert found
    ids = {reply.headers["x-trace-id"]: reply.headers["x-request-id"] for reply in replies}
    lines = {line["trace_id"]: line for line in log.lines if line["event"] == "request"}
    servers = {server.trace_id: server for server in http.servers}
    for exemplar in found:
        trace_id = exemplar.labels["trace_id"]
        line, server = lines[trace_id], servers[trace_id]
        assert line["span_id"] == server.span_id
        assert line["request_id"] == server.attributes["inference.request.id"] == ids[trace_id]
        compute = http.children(server)["compute"]
        assert line["batch_id"] == compute.attributes["inference.batch.id"]
        assert line["compute_ms"] == pytest.approx(compute.seconds * 1000, abs=0.01)
