"""The whole application but for its sockets, with a model whose answers a test can foresee."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.main import App, create_app
from app.models.runner import Task
from app.settings import Settings
from tests.api.words import WordRunner
from tests.fakes import RecordingObserver


@dataclass
class Service:
    app: App
    client: httpx.AsyncClient
    ops: httpx.AsyncClient
    runner: WordRunner
    observer: RecordingObserver

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.client.post(path, json=body)

    async def get(self, path: str) -> httpx.Response:
        return await self.client.get(path)


@asynccontextmanager
async def serving(task: Task, *, start: bool = True, **settings: Any) -> AsyncIterator[Service]:
    """Not yet loading the model, unless `start`."""
    runner, observer = WordRunner(task), RecordingObserver()
    app = create_app(Settings(model="fake", **settings), runner=runner, observer=observer)
    ready = asyncio.Event()
    life = asyncio.create_task(app.lifecycle.run(ready) if start else asyncio.Event().wait())
    try:
        async with _client(app.api) as client, _client(app.ops) as ops:
            if start:
                await asyncio.wait_for(ready.wait(), 5)
            yield Service(app, client, ops, runner, observer)
    finally:
        life.cancel()
        await asyncio.wait({life})


def _client(asgi: Any) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(asgi, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://vitrine")
