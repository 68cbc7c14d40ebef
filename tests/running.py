"""The whole service in this process and on this event loop, on loopback, through the real listening code."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from app import server
from app.main import App, create_app
from app.models.runner import ModelRunner
from app.observer import Observer
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
    """Serve as `app.server.serve` does, but for signals, from when the model is ready to the block's end."""
    app = create_app(settings or settings_for(), runner=runner or FakeRunner(), observer=observer)
    limits = httpx.Limits(max_connections=256, max_keepalive_connections=256)
    async with server.running(app) as service:
        async with asyncio.timeout(60):
            await service.ready.wait()
        async with httpx.AsyncClient(base_url=service.api_url, limits=limits, timeout=30) as client:
            yield Running(app, service.api_url, service.ops_url, client)
