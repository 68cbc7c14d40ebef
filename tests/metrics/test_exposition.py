"""The formats of /metrics, and the exemplars in one of them."""

import shutil
import subprocess

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.metrics.scraping import OPENMETRICS, scrape
from tests.running import running

pytestmark = pytest.mark.anyio

WITH_EXEMPLARS = {"inference_request_duration_seconds_bucket", "inference_stage_duration_seconds_bucket"}

# What Prometheus 2.42 and 3 send
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "content_type"),
    [
        (PROMETHEUS_2, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (PROMETHEUS_3, "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        ("application/openmetrics-text", "application/openmetrics-text; version=1.0.0; charset=utf-8"),
        (
            "application/openmetrics-text;version=two;q=high",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ),
        ("text/plain;version=1.0.0", "text/plain; version=0.0.4; charset=utf-8"),
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8"),
        ("*/*", "text/plain; version=0.0.4; charset=utf-8"),
    ],
)
async def test_the_format_is_the_one_asked_for(accept: str, content_type: str) -> None:
    async with running() as service, httpx.AsyncClient(base_url=service.ops_url) as client:
        response = await client.get("/metrics", headers={"accept": accept})
    assert response.headers["content-type"] == content_type
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    assert list(parse(response.text))
    assert response.text.endswith("# EOF\n") == ("openmetrics" in content_type)


async def test_both_formats_name_the_same_series() -> None:
    async with running() as service, httpx.AsyncClient(base_url=service.ops_url) as client:
        await service.embed("one")
        text = (await client.get("/metrics")).text
        openmetrics = (await client.get("/metrics", headers=OPENMETRICS)).text

    def names(document: str) -> list[str]:
        return [line.split(" ")[0] for line in document.splitlines() if not line.startswith("#")]

    assert names(text) == names(openmetrics)
    assert not [name for name in names(text) if "_created" in name]


async def test_it_is_compressed_when_asked_for() -> None:
    async with running() as service, httpx.AsyncClient(base_url=service.ops_url) as client:
        plain = await client.get("/metrics", headers={"accept-encoding": "identity"})
        compressed = await client.get("/metrics", headers={"accept-encoding": "gzip"})
    assert "content-encoding" not in plain.headers
    assert compressed.headers["content-encoding"] == "gzip"
    assert int(compressed.headers["content-length"]) < len(plain.content) / 5
    assert compressed.text.splitlines()[0] == plain.text.splitlines()[0]


TRACE = "0af7651916cd43dd8448eb211c80319c"


async def exemplars(**headers: str) -> tuple[set[str], set[str], str | None]:
    """After one request: the samples with an exemplar, the traces that they name, and the request's own."""
    async with running() as service:
        response = await service.embed("one two", **headers)
        seen = await scrape(service.ops_url)
    found = [(sample, sample.exemplar) for sample in seen.samples if sample.exemplar]
    for sample, exemplar in found:
        assert exemplar.labels.keys() == {"trace_id"}
        assert exemplar.value <= float(sample.labels["le"])
    names = {sample.name for sample, _ in found}
    return names, {exemplar.labels["trace_id"] for _, exemplar in found}, response.headers.get("x-trace-id")


async def test_a_sampled_request_is_an_example_in_its_buckets() -> None:
    names, traces, trace = await exemplars()
    assert names == WITH_EXEMPLARS
    assert traces == {trace}


async def test_the_callers_trace_is_the_example_if_the_caller_samples_it() -> None:
    assert await exemplars(traceparent=f"00-{TRACE}-b7ad6b7169203331-01") == (WITH_EXEMPLARS, {TRACE}, TRACE)


async def test_a_trace_that_is_not_sampled_is_no_example(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await exemplars(traceparent=f"00-{TRACE}-b7ad6b7169203331-00") == (set(), set(), TRACE)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_off")
    assert (await exemplars())[:2] == (set(), set())
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert await exemplars() == (set(), set(), None)


async def test_each_stage_has_its_example() -> None:
    async with running() as service:
        await service.embed("one two")
        seen = await scrape(service.ops_url)
    stages = {
        sample.labels["stage"]
        for sample in seen.find("inference_stage_duration_seconds_bucket")
        if sample.exemplar
    }
    assert stages == {"tokenize", "queue", "compute", "respond"}


async def test_promtool_has_nothing_to_say() -> None:
    async with running() as service, httpx.AsyncClient(base_url=service.ops_url) as client:
        await service.embed("one")
        text = (await client.get("/metrics")).text
    assert promtool_on(text) == ""
    assert "no help text" in promtool_on("nameless 1\n")


def promtool_on(text: str) -> str:
    command = [shutil.which("promtool") or pytest.skip("Debian's package prometheus brings promtool")]
    checked = subprocess.run(
        [*command, "check", "metrics"], input=text, capture_output=True, text=True, check=False, timeout=30
    )
    return checked.stdout + checked.stderr
