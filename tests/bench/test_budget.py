"""What a request costs beside the model, layer by layer: CPU time of the application without sockets."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from starlette.types import Message

import app.main
from app.edge.disconnect import EXTENSION, Client
from app.main import App, create_app
from app.models.runner import Row, TokenizedInput
from app.observer import FanOut, Observer
from app.settings import Settings
from app.telemetry.logs import LogObserver, configure_logs
from app.telemetry.metrics import MetricsObserver
from tests.fakes import FakeRunner

pytestmark = [pytest.mark.bench, pytest.mark.anyio]
AT_ONCE = 16
ROUNDS = 200
VECTOR = np.random.default_rng(0).standard_normal(384).astype(np.float32)
BODY = orjson.dumps({"model": "fake", "input": "the quick brown fox jumps over the lazy dog " * 4})


class InstantRunner(FakeRunner):
    """Answers with a vector of MiniLM's size, and takes no time for it."""

    def run(self, batch: Sequence[TokenizedInput], *, alone: bool = False) -> list[Row]:
        return [VECTOR] * len(batch)


async def ask(app: App) -> None:
    """One request through all layers inside of the socket."""
    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "server": ("127.0.0.1", 8000),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": "POST",
        "root_path": "",
        "path": "/v1/embeddings",
        "raw_path": b"/v1/embeddings",
        "query_string": b"",
        "headers": [
            (b"host", b"127.0.0.1:8000"),
            (b"content-type", b"application/json"),
            (b"content-length", str(len(BODY)).encode()),
        ],
        "state": {},
        "extensions": {EXTENSION: Client()},
    }

    async def receive() -> Message:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Message) -> None:
        assert message.get("status", 200) == 200

    await app.api(scope, receive, send)


async def cost(app: App) -> float:
    """Microseconds of CPU a request, of all threads; the tenth percentile, as others use the machine, too."""
    ready = asyncio.Event()
    life = asyncio.create_task(app.lifecycle.run(ready))
    await ready.wait()
    spent = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        await asyncio.gather(*(ask(app) for _ in range(AT_ONCE)))
        app.deferred.catch_up()
        spent.append((time.process_time() - begin) / AT_ONCE * 1e6)
    life.cancel()
    await asyncio.wait({life})
    return float(np.quantile(spent, 0.1))


async def test_what_each_layer_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    layers: list[tuple[str, tuple[type[Observer], ...] | None, bool]] = [
        ("request, validation, admission, queue, answer", (), False),
        ("metrics", (MetricsObserver,), False),
        ("the log line", (MetricsObserver, LogObserver), False),
        ("the console", None, False),
        ("traces: the server's span, three stages, the batch's", None, True),
    ]
    with (tmp_path / "log").open("w") as log:
        configure_logs("info", "json", log)
        told, before = [], 0.0
        for name, kinds, traced in layers:
            monkeypatch.setenv("OTEL_SDK_DISABLED", str(not traced).lower())
            if traced:
                # To nobody, and not before the end: what encoding and sending costs is another thread's.
                monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
                monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
                monkeypatch.setenv("OTEL_BSP_MAX_QUEUE_SIZE", "1000000")
                monkeypatch.setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1000000")

            def chosen(observers: list[Observer], kinds: Any = kinds) -> FanOut:
                return FanOut([each for each in observers if kinds is None or isinstance(each, kinds)])

            monkeypatch.setattr(app.main, "FanOut", chosen)
            micros = await cost(create_app(Settings(model="fake"), runner=InstantRunner(concurrency=2)))
            told.append(f"| {name} | {micros - before:.0f} |")
            before = micros
    print(f"\n| Layer | µs |\n|---|---|\n{os.linesep.join(told)}\n| together | {before:.0f} |")
    assert before < 1000
