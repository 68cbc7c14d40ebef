import pytest

from tests.api.service import Service

pytestmark = pytest.mark.anyio

DOCUMENTS = ["nothing", {"text": "red cat"}, "a red cat here"]


async def test_the_most_relevant_documents_first(reranker: Service) -> None:
    response = await reranker.post(
        "/v1/rerank", model="fake", query="a red cat", documents=DOCUMENTS, top_n=2, return_documents=True
    )
    body = response.json()
    assert [(result["index"], result["document"]) for result in body["results"]] == [
        (2, {"text": "a red cat here"}),
        (1, {"text": "red cat"}),
    ]
    assert body["results"][0]["relevance_score"] > body["results"][1]["relevance_score"] > 0
    assert body["id"] == response.headers["x-request-id"]
    assert body["meta"]["tokens"]["input_tokens"] == reranker.observer.requests[-1].tokens


async def test_documents_are_left_out_and_the_model_may_be(reranker: Service) -> None:
    response = await reranker.post("/v1/rerank", query="a", documents=["b", "a"])
    assert [sorted(result) for result in response.json()["results"]] == [["index", "relevance_score"]] * 2


async def test_errors_have_openais_envelope(reranker: Service) -> None:
    other = await reranker.post("/v1/rerank", model="rerank-v3", query="a", documents=["b"])
    wrong = await reranker.post("/v1/rerank", query="a", documents=["b", {"title": "c"}])
    none = await reranker.post("/v1/rerank", query="a", documents=["b"], top_n=0)
    assert (other.status_code, other.json()["error"]["code"]) == (404, "model_not_found")
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "documents[1]")
    assert (none.status_code, none.json()["error"]["param"]) == (400, "top_n")
