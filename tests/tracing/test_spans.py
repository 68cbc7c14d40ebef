"""What a collector gets to see of requests, of their stages, and of the batches that they ran in."""

import asyncio
from collections.abc import Sequence

import pytest

from app.errors import DeviceLost
from app.models.runner import Input, Row, TokenizedInput
from app.observer import STAGES
from tests.fakes import FAIL, FakeRunner, RecordingObserver
from tests.live.client import Connection, Reply
from tests.running import running, settings_for
from tests.tracing.collector import Collector, HttpCollector
from tests.tracing.conftest import Export

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"


async def test_every_request_is_found_with_its_stages_and_in_its_batch(
    collector: Collector, export: Export
) -> None:
    export(collector)
    facts = RecordingObserver()
    runner = FakeRunner()
    async with running(runner=runner, observer=facts) as service:
        connections = [Connection(int(service.url.rpartition(":")[2])) for _ in range(64)]

        async def embed(**headers: str) -> list[Reply]:
            body = {"model": "fake", "input": "some text"}
            asked = [connection.post("/v1/embeddings", body, **headers) for connection in connections]
            return await asyncio.gather(*asked)

        await embed(traceparent=f"00-{TRACE}-{PARENT}-00")  # opens the connections, and is not sampled
        facts.requests.clear()
        facts.batches.clear()
        runner.start = 0.6
        responses = await embed()
        for connection in connections:
            connection.close()

    servers = {span.attributes["inference.request.id"]: span for span in collector.servers}
    assert {response.headers["x-request-id"]: response.headers["x-trace-id"] for response in responses} == {
        request_id: span.trace_id for request_id, span in servers.items()
    }
    assert len({span.trace_id for span in servers.values()}) == 64

    batches = {span.attributes["inference.batch.id"]: span for span in collector.named("batch")}
    assert sum(span.attributes["inference.batch.size"] for span in batches.values()) == 64
    assert len(batches) == len(facts.batches) > 1
    for batch in facts.batches:
        span = batches[batch.id]
        assert sorted(span.links) == sorted(servers[member.request_id].ids for member in batch.members)
        assert span.parent_id == ""
        assert span.attributes["inference.batch.tokens"] == batch.tokens == 2 * batch.inputs
        assert span.attributes["inference.batch.release_reason"] == batch.reason

    for record in facts.requests:
        server = servers[record.request_id]
        children = collector.children(server)
        assert set(children) == {"tokenize", "queue", "compute"}
        batch_span = batches[record.batches[0].id]
        assert children["compute"].links == [batch_span.ids]
        assert {key: children["compute"].attributes[key] for key in batch_span.attributes} == (
            batch_span.attributes
        )
        durations = record.stages.durations()
        assert set(durations) == set(STAGES)
        whole = record.finished - record.arrived
        assert sum(durations.values()) == pytest.approx(whole, rel=0.05)
        for name, child in children.items():
            assert child.seconds == pytest.approx(durations[name], abs=1e-5)
            assert server.start <= child.start + 1e6
            assert child.end <= server.end + 1e6


async def test_a_server_span_tells_the_inference_and_who_we_are(http: HttpCollector, export: Export) -> None:
    export(http, RESOURCE_ATTRIBUTES="k8s.pod.name=vitrine-0,k8s.node.name=n1")
    async with running() as service:
        await service.embed("one two three", "four")
    (server,) = http.servers
    assert server.name == "POST /v1/embeddings"
    assert {
        "http.request.method": "POST",
        "http.route": "/v1/embeddings",
        "http.response.status_code": 200,
        "url.path": "/v1/embeddings",
        "inference.outcome": "ok",
        "inference.task": "embeddings",
        "inference.model.name": "fake",
        "inference.inputs": 2,
        "inference.tokens": 4,
    }.items() <= server.attributes.items()
    assert "http.method" not in server.attributes  # the old names
    assert {"service.name": "vitrine", "k8s.pod.name": "vitrine-0", "k8s.node.name": "n1"}.items() <= (
        server.resource.items()
    )
    assert server.resource["service.instance.id"]
    assert server.resource["service.version"]


async def test_the_service_is_called_what_its_operator_calls_it(http: HttpCollector, export: Export) -> None:
    export(http, SERVICE_NAME="search", RESOURCE_ATTRIBUTES="service.version=7,service.instance.id=me")
    async with running() as service:
        await service.embed("text")
    resource = http.servers[0].resource
    assert [resource[f"service.{key}"] for key in ("name", "version", "instance.id")] == ["search", "7", "me"]


async def test_routes_are_templates_and_refusals_are_traced_but_probes_are_not(
    http: HttpCollector, export: Export
) -> None:
    export(http)
    async with running(settings_for(api_keys="secret")) as service:
        key = {"authorization": "Bearer secret"}
        for path in ("/livez", "/readyz", "/startupz", "/health", "/v2/health/live", "/v2/health/ready"):
            await service.client.get(path)
        replies = [
            await service.client.post("/v1/embeddings", json={}),
            await service.client.get("/v2/models/fake/ready", headers=key),
            await service.client.get("/nowhere/in/particular", headers=key),
            await service.client.post("/embed", content=b"x" * 5_000_000, headers=key),
        ]
    assert [reply.status_code for reply in replies] == [401, 200, 404, 413]
    assert [(span.name, span.trace_id) for span in http.servers] == [
        (name, reply.headers["x-trace-id"])
        for name, reply in zip(
            ["POST /v1/embeddings", "GET /v2/models/{model}/ready", "GET", "POST /embed"],
            replies,
            strict=True,
        )
    ]
    assert http.servers[1].attributes["http.route"] == "/v2/models/{model}/ready"
    assert "http.route" not in http.servers[2].attributes


async def test_a_callers_trace_goes_on(http: HttpCollector, export: Export) -> None:
    export(http)
    async with running() as service:
        reply = await service.embed("text", traceparent=f"00-{TRACE}-{PARENT}-01", tracestate="vendor=1")
    (server,) = http.servers
    assert (server.trace_id, server.parent_id) == (TRACE, PARENT)
    assert reply.headers["x-trace-id"] == TRACE
    assert len(http.children(server)) == 3
    (batch,) = http.named("batch")
    assert batch.trace_id != TRACE


async def test_what_a_caller_does_not_sample_is_not_exported_though_it_has_ids(
    http: HttpCollector, export: Export
) -> None:
    export(http)
    facts = RecordingObserver()
    async with running(observer=facts) as service:
        reply = await service.embed("text", traceparent=f"00-{TRACE}-{PARENT}-00")
        metrics = await service.client.get(
            f"{service.ops_url}/metrics", headers={"accept": "application/openmetrics-text"}
        )
    assert http.spans == []
    assert reply.headers["x-trace-id"] == TRACE == facts.exchanges[0].trace_id
    assert facts.exchanges[0].span_id not in (None, PARENT)
    assert "trace_id" not in metrics.text
    assert 'inference_requests_total{model_name="fake"' in metrics.text


async def test_a_batch_is_exported_if_one_of_its_members_is(http: HttpCollector, export: Export) -> None:
    # Whoever comes without a trace of his own is left out.
    export(http, TRACES_SAMPLER="parentbased_always_off")
    runner = FakeRunner()
    async with running(runner=runner) as service:
        runner.hold.clear()
        first = asyncio.create_task(service.embed("keeps the worker busy"))
        await asyncio.sleep(0.1)
        others = [
            asyncio.create_task(service.embed("two words", traceparent=f"00-{TRACE}-{PARENT}-{sampled}"))
            for sampled in ("00", "01", "00")
        ]
        others.append(asyncio.create_task(service.embed("two words")))
        await asyncio.sleep(0.1)
        runner.hold.set()
        await asyncio.gather(first, *others)
    (server,) = http.servers
    (batch,) = http.named("batch")
    assert batch.attributes["inference.batch.size"] == len(batch.links) == 4
    assert server.ids in batch.links
    assert http.children(server)["compute"].links == [batch.ids]


async def test_a_request_in_several_batches_links_to_each(http: HttpCollector, export: Export) -> None:
    export(http)
    async with running(settings_for(batching={"max_inputs": 8})) as service:
        await service.embed(*["short"] * 40, "long " * 100)
    (server,) = http.servers
    batches = http.named("batch")
    assert len(batches) >= 6
    assert sum(batch.attributes["inference.batch.size"] for batch in batches) == 41
    compute = http.children(server)["compute"]
    assert sorted(compute.links) == sorted(batch.ids for batch in batches)
    assert all(batch.links == [server.ids] for batch in batches)
    assert compute.start == pytest.approx(min(batch.start for batch in batches), abs=1e5)
    assert compute.end == pytest.approx(max(batch.end for batch in batches), abs=1e5)


async def test_a_failed_stage_is_marked(http: HttpCollector, export: Export) -> None:
    export(http)
    async with running() as service:
        failed = await service.embed(FAIL)
        invalid = await service.client.post("/v1/embeddings", json={"model": "fake"})
        assert (failed.status_code, invalid.status_code) == (500, 400)
    by_trace = {server.trace_id: server for server in http.servers}
    server = by_trace[failed.headers["x-trace-id"]]
    children = http.children(server)
    assert server.failed
    assert (server.attributes["inference.outcome"], server.attributes["error.type"]) == ("failed", "500")
    assert server.attributes["inference.error"] == "inference_failed"
    assert {name: span.failed for name, span in children.items()} == {
        "tokenize": False,
        "queue": False,
        "compute": True,
    }
    assert children["compute"].attributes["error.type"] == "inference_failed"
    (batch,) = http.named("batch")
    assert (batch.failed, batch.attributes["inference.batch.failed"]) == (True, 1)
    server = by_trace[invalid.headers["x-trace-id"]]
    assert not server.failed  # of the caller's own doing
    assert server.attributes["inference.outcome"] == "invalid"
    assert server.attributes["error.type"] == server.attributes["inference.error"] == "invalid_input"


async def test_a_request_that_expires_in_the_queue_shows_how_long_it_waited(
    http: HttpCollector, export: Export
) -> None:
    export(http)
    runner = FakeRunner()
    async with running(runner=runner) as service:
        runner.hold.clear()
        first = asyncio.create_task(service.embed("keeps the worker busy"))
        await asyncio.sleep(0.05)
        late = await service.embed("text", x_request_timeout_ms="200")
        runner.hold.set()
        await first
    assert late.status_code == 504
    (server,) = [span for span in http.servers if span.trace_id == late.headers["x-trace-id"]]
    children = http.children(server)
    assert set(children) == {"tokenize", "queue"}
    assert children["queue"].failed
    assert children["queue"].attributes["error.type"] == "deadline_exceeded"
    assert children["queue"].seconds == pytest.approx(0.2, abs=0.1)
    assert (server.failed, server.attributes["inference.outcome"]) == (True, "expired")


class Blabber(FakeRunner):
    """Its errors quote the input."""

    def tokenize(self, inputs: Sequence[Input], *, truncate: bool) -> list[TokenizedInput]:
        if "bug" in str(inputs):
            raise RuntimeError(f"cannot tokenize {inputs}")
        return super().tokenize(inputs, truncate=truncate)

    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        if any(FAIL in item.text for item in batch):
            raise ValueError(f"cannot run {batch}")
        return super().run(batch, alone=alone)


async def test_no_span_holds_a_text_or_a_key(
    http: HttpCollector, export: Export, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(http)
    for what in ("REQUEST", "RESPONSE"):
        monkeypatch.setenv(f"OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SERVER_{what}", ".*")
    async with running(settings_for(api_keys="confidential-key"), runner=Blabber()) as service:
        service.client.headers["authorization"] = "Bearer confidential-key"
        service.client.headers["x-api-key"] = "confidential-header"
        statuses = [
            (await service.embed(f"confidential {what}")).status_code for what in ("bug", "text", FAIL)
        ]
        await service.client.get("/v1/models?key=confidential")
        await service.client.post("/v1/embeddings", content=b'{"input": "confidential')
    assert statuses == [500, 200, 500]
    assert len(http.servers) == 5
    assert http.servers[3].attributes["url.query"] == "REDACTED"
    for request in http.requests:
        assert b"confidential" not in request.SerializeToString()


async def test_a_long_path_is_cut(http: HttpCollector, export: Export) -> None:
    export(http)
    async with running() as service:
        await service.client.get("/" + "x" * 5000)
    assert len(http.servers[0].attributes["url.path"]) == 512


@pytest.mark.parametrize("variables", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}, {}])
async def test_without_a_collector_all_works(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    facts = RecordingObserver()
    async with running(observer=facts) as service:
        reply = await service.embed("text")
    assert reply.status_code == 200
    has_ids = "OTEL_SDK_DISABLED" not in variables
    assert ("x-trace-id" in reply.headers) == (facts.exchanges[0].trace_id is not None) == has_ids
    assert service.app.tracing.counts.dropped == 0


async def test_a_lost_device_does_not_lose_the_spans_of_its_last_batch(
    http: HttpCollector, export: Export
) -> None:
    export(http)
    runner = FakeRunner()
    async with running(runner=runner) as service:
        runner.dies_of = DeviceLost("gone")
        reply = await service.embed("text")
    assert reply.status_code == 503
    (server,) = http.servers
    assert server.attributes["inference.error"] == "worker_died"
    assert http.children(server)["queue"].failed
