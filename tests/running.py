"""The whole service in this process and on this event loop, on loopback, through the real listening code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app.main import App, create_app
from app.models.runner import ModelRunner
from app.observer import Observer
from app.server import OPS_DRAIN, _bind, _cancelled, _listening, _url
from app.settings import Settings
from tests.fakes import FakeRunner


@dataclass(frozen=True, slots=True)
class Running:
    """A service that answers."""

    app: App
    url: str
    ops_url: str
    client: httpx.AsyncClient
    """Speaks to the API."""

    async def embed(self, *texts: str, **headers: str) -> httpx.Response:
        """Ask for embeddings, with `_` for `-` in the headers' names."""
        return await self.client.post(
            "/v1/embeddings",
            json={"model": self.app.settings.public_name, "input": list(texts)},
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )


def settings_for(**values: Any) -> Settings:
    """Settings of a test: a model that's called fake, free ports, a drain that doesn't wait for long."""
    return Settings(**{"model": "fake", "port": 0, "ops_port": 0, "drain_timeout": 2, **values})


@asynccontextmanager
async def running(
    settings: Settings | None = None, *, runner: ModelRunner | None = None, observer: Observer | None = None
) -> AsyncIterator[Running]:
    """Serve as `app.server.serve` does, but for signals, from when the model is ready until the block ends."""
    app = create_app(settings or settings_for(), runner=runner or FakeRunner(), observer=observer)
    api_socket = _bind("APP_PORT", app.settings.host, app.settings.port)
    ops_socket = _bind("APP_OPS_PORT", app.settings.ops_host, app.settings.ops_port)
    ready = asyncio.Event()
    async with AsyncExitStack() as stack:
        stack.push_async_callback(app.tracing.close)
        model = asyncio.create_task(app.lifecycle.run(ready))
        stack.push_async_callback(_cancelled, model)
        await stack.enter_async_context(_listening(app.ops, ops_socket, app, OPS_DRAIN))
        await stack.enter_async_context(_listening(app.api, api_socket, app, app.settings.drain_timeout))
        async with asyncio.timeout(60):
            await ready.wait()
        url = _url(api_socket)
        limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
        client = await stack.enter_async_context(httpx.AsyncClient(base_url=url, limits=limits, timeout=30))
        yield Running(app, url, _url(ops_socket), client)
