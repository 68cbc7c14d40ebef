"""The `openai` package, unchanged."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest

from tests.clients.reference import TEXTS, assert_same_vectors, embed

pytestmark = pytest.mark.clients

MODEL = "all-MiniLM-L6-v2"


@pytest.fixture
def client(embedder_url: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{embedder_url}/v1", api_key="none", max_retries=0) as made:
        yield made


def test_embeddings_in_base64_as_the_client_asks_by_default(client: openai.OpenAI, minilm: Path) -> None:
    answer = client.embeddings.with_raw_response.create(model=MODEL, input=TEXTS)
    assert '"embedding":"' in answer.text
    response = answer.parse()
    assert_same_vectors([item.embedding for item in response.data], embed(minilm, TEXTS))
    assert [item.index for item in response.data] == [0, 1, 2]
    assert response.model == MODEL
    assert response.usage.prompt_tokens == response.usage.total_tokens > len(TEXTS)


def test_embeddings_as_floats(client: openai.OpenAI, minilm: Path) -> None:
    response = client.embeddings.create(model=MODEL, input=TEXTS[0], encoding_format="float")
    assert_same_vectors([response.data[0].embedding], embed(minilm, TEXTS[:1]))


def test_token_ids_stand_for_their_text(client: openai.OpenAI) -> None:
    # "hello world" in the vocabulary of BERT, lowercase
    by_ids = client.embeddings.create(model=MODEL, input=[[7592, 2088], [7592, 2088]])
    by_text = client.embeddings.create(model=MODEL, input="hello world")
    np.testing.assert_allclose(by_ids.data[1].embedding, by_text.data[0].embedding, atol=1e-5)


def test_fewer_dimensions(client: openai.OpenAI, minilm: Path) -> None:
    response = client.embeddings.create(model=MODEL, input=TEXTS[0], dimensions=64)
    cut = embed(minilm, TEXTS[:1])[:, :64]
    assert_same_vectors([response.data[0].embedding], cut / np.linalg.norm(cut))


def test_models(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).owned_by == "vitrine"


def test_errors_become_the_clients_own(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as missing:
        client.embeddings.create(model="gpt-9", input="a")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError) as wrong:
        client.embeddings.create(model=MODEL, input="a", dimensions=10_000)
    assert (wrong.value.param, wrong.value.type) == ("dimensions", "invalid_request_error")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("gpt-9")


def test_a_deadline_becomes_the_clients_server_error(client: openai.OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as late:
        client.embeddings.create(
            model=MODEL, input=["word " * 200] * 200, extra_headers={"x-request-timeout-ms": "1"}
        )
    assert late.value.status_code == 504


def test_many_at_once_get_each_its_own(embedder_url: str, minilm: Path) -> None:
    texts = [f"This is text number {number}." for number in range(32)]

    async def run() -> list[list[float]]:
        async with openai.AsyncOpenAI(base_url=f"{embedder_url}/v1", api_key="none") as client:
            tasks = [client.embeddings.create(model=MODEL, input=text) for text in texts]
            return [response.data[0].embedding for response in await asyncio.gather(*tasks)]

    assert_same_vectors(asyncio.run(run()), embed(minilm, texts))
