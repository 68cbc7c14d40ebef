"""Nothing that a caller sends makes a series of its own."""

import random
import re
import string

import pytest

from tests.metrics.scraping import scrape
from tests.metrics.test_document import DOCUMENT
from tests.running import Running, running, settings_for

pytestmark = pytest.mark.anyio

HTTP = "http_server_request_duration_seconds"


async def test_the_series_are_as_many_as_the_document_says() -> None:
    async with running() as service:
        at_rest = (await scrape(service.ops_url)).series
        await service.embed("one")
        after_one = (await scrape(service.ops_url)).series
        await service.embed("two")
        after_two = (await scrape(service.ops_url)).series
    stated = re.search(r"has (\d+) from its first second.* come (\d+) for each", DOCUMENT, re.DOTALL)
    assert stated
    assert (len(at_rest), len(after_one - at_rest)) == tuple(map(int, stated.groups()))
    assert after_two == after_one


async def test_hostile_requests_add_none() -> None:
    """The second round differs from the first in everything that a caller can make up."""
    settings = settings_for(api_keys="secret", edge={"max_body_bytes": 4096})
    async with running(settings) as service:
        await hostile(service, random.Random(1))
        first = await scrape(service.ops_url)
        await hostile(service, random.Random(2))
        second = await scrape(service.ops_url)
    assert second.series == first.series

    exchanges = second.find(f"{HTTP}_count")
    assert {sample.labels["http_request_method"] for sample in exchanges} == {
        *METHODS,
        "_OTHER",
    }
    for sample in exchanges:
        method, route = sample.labels["http_request_method"], sample.labels["http_route"]
        assert route in {"unmatched", *TEMPLATES}
        assert route == "unmatched" or method in TEMPLATES[route]
    assert len(second.series) < 1000
    assert {sample.labels["model_name"] for sample in second.samples if "model_name" in sample.labels} == {
        "fake"
    }


TEMPLATES = {
    "/v1/embeddings": {"POST"},
    "/embed": {"POST"},
    "/v1/models/{model}": {"GET"},
    "/v2/models/{model}": {"GET"},
    "/v2/models/{model}/infer": {"POST"},
}

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")
RARE_METHODS = ("PROPFIND", "MKCOL", "SUBSCRIBE", "LOCK", "REPORT")


async def hostile(service: Running, choose: random.Random) -> None:
    def word() -> str:
        return "".join(choose.choices(string.ascii_letters, k=12))

    key = {"authorization": "Bearer secret"}
    request = service.client.request
    for method in (*METHODS, choose.choice(RARE_METHODS), word().upper()):
        await request(method, f"/{word()}/{word()}?{word()}={word()}", headers=key)
        await request(method, "/v1/embeddings", headers=key)
        await request(method, f"/v2/models/{word()}/infer", headers=key)
        await request(method, f"/{word()}")  # without a key
    for body in (
        {"model": word(), "input": word()},
        {"model": "fake", "input": word(), word(): word()},
        {"model": "fake", "input": [], "user": word()},
        {"model": "fake", "input": word(), "task": word(), "outcome": word()},
    ):
        await request("POST", "/v1/embeddings", json=body, headers={**key, "x-request-id": word()})
    await request("POST", "/embed", json={"inputs": word() * 1000}, headers=key)
    await request("POST", "/embed", content=word(), headers={**key, "content-type": f"{word()}/{word()}"})
    await request("POST", "/embed", json={"inputs": word()}, headers={**key, "x-request-timeout-ms": word()})
    await request("GET", f"/v1/models/{word()}", headers=key)
    await request("GET", f"/v2/models/{word()}", headers=key)
