"""What people send, and the keys they send it with, come back to them and to nobody else."""

import asyncio
import urllib.error
import urllib.request
from pathlib import Path

import orjson
import pytest

from tests.live.client import post_once
from tests.live.conftest import Start
from tests.tracing.collector import HttpCollector

pytestmark = [pytest.mark.live, pytest.mark.anyio]
SECRET = "quetzalcoatl"
KEY = "key-of-axolotl"


def read(url: str) -> str:
    try:
        with urllib.request.urlopen(url, timeout=5) as page:
            return str(page.read().decode())
    except urllib.error.HTTPError as error:
        with error:
            return error.read().decode()


async def test_no_text_and_no_key_reaches_logs_spans_metrics_or_the_console(
    start: Start, minilm: Path
) -> None:
    with HttpCollector() as collector:
        server = start(
            APP_MODEL=str(minilm),
            APP_API_KEYS=KEY,
            APP_LOG_LEVEL="debug",
            OTEL_EXPORTER_OTLP_ENDPOINT=collector.endpoint,
            OTEL_BSP_SCHEDULE_DELAY="200",
        ).wait_until_ready()
        bodies = [
            ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": SECRET}),
            ("/v1/embeddings", {"model": SECRET, "input": SECRET}),
            ("/v1/embeddings", {"model": "all-MiniLM-L6-v2", "input": [1.5, SECRET], SECRET: 1}),
            ("/embed", {"inputs": SECRET * 2000, "truncate": False}),
            ("/embed", {"inputs": SECRET, "dimensions": SECRET}),
            ("/predict", {"inputs": SECRET}),
            ("/v2/models/all-MiniLM-L6-v2/infer", {"inputs": [{"name": SECRET, "data": [SECRET]}]}),
            ("/nowhere", {"inputs": SECRET}),
            (f"/embed?{SECRET}={SECRET}", {"inputs": "a"}),
        ]
        statuses = []
        for path, body in bodies:
            for key in (KEY, f"wrong-{SECRET}"):
                reply = await post_once(server.port, path, body, authorization=f"Bearer {key}", x_note=SECRET)
                statuses.append(reply.status)
        assert {200, 400, 401, 404} <= set(statuses)
        await asyncio.sleep(1)
        paths = ["/", "/state.json", "/requests.json", "/metrics"]
        paths += [f"/requests/{line['request_id']}" for line in server.events("request")]
        pages = [read(server.ops_url + path) for path in paths]
        server.terminate()
        assert server.wait() == 0
        spans = collector.spans
    # They did tell of these requests, without what was in them.
    assert sum(line["event"] == "request" for line in server.lines) == len(statuses)
    assert len([span for span in spans if span.server]) >= len(statuses) - 1
    written = {
        "log": orjson.dumps(server.lines).decode() + "".join(server.errors),
        "spans": repr(spans),
        **{f"page {number}": page for number, page in enumerate(pages)},
    }
    for where, text in written.items():
        assert SECRET not in text, where
        assert KEY not in text, where
