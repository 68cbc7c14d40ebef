from collections.abc import AsyncIterator

import pytest

from app.models.runner import Task
from tests.api.service import Service, serving


@pytest.fixture
async def embedder() -> AsyncIterator[Service]:
    async with serving(Task.EMBEDDINGS) as service:
        yield service


@pytest.fixture
async def classifier() -> AsyncIterator[Service]:
    async with serving(Task.TEXT_CLASSIFICATION) as service:
        yield service


@pytest.fixture
async def tagger() -> AsyncIterator[Service]:
    async with serving(Task.TOKEN_CLASSIFICATION) as service:
        yield service


@pytest.fixture
async def reranker() -> AsyncIterator[Service]:
    async with serving(Task.RERANK) as service:
        yield service
