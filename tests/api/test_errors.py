import asyncio
import json
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from app.api.errors import KINDS, install, kind_of
from app.errors import (
    ClientGone,
    DeadlineExceeded,
    InferenceFailed,
    InputTooLong,
    InvalidInput,
    ModelNotFound,
    NonFiniteOutput,
    OutOfMemory,
    Overloaded,
    RequestTooLarge,
    TaskNotSupported,
    Unavailable,
    VitrineError,
    WorkerDied,
)
from app.models.runner import Task
from tests.api.service import Service, serving
from tests.api.words import REFUSED
from tests.fakes import FAIL, NAN

pytestmark = pytest.mark.anyio

TENSOR = {"name": "text", "shape": [1], "datatype": "BYTES", "data": ["a"]}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/embeddings": {"model": "fake", "input": "a"},
    "/v1/rerank": {"query": "a", "documents": ["a"]},
    "/embed": {"inputs": "a"},
    "/predict": {"inputs": "a"},
    "/rerank": {"query": "a", "texts": ["a"]},
    "/": {"inputs": "a"},
    "/v2/models/fake/infer": {"inputs": [TENSOR]},
}
"""A good body for each inference route, if the model has its task."""

OPTIONS: dict[str, Any] = {
    "truncate": False,
    "normalize": False,
    "top_k": 1,
    "top_n": 1,
    "dimensions": 1,
    "encoding_format": "float",
    "id": "a",
    "aggregation_strategy": "simple",
    "parameters": {"top_k": 1},
}
"""Good values of optional fields, all routes' together."""

SECRET = "do-not-repeat-this"


def message(response: httpx.Response) -> str:
    """The message of an error in the envelope that the path calls for; nothing else may be in it."""
    body = response.json()
    path = response.request.url.path
    if path.startswith("/v1/"):
        assert list(body) == ["error"]
        assert set(body["error"]) == {"message", "type", "param", "code"}
        found = body["error"]["message"]
    elif path.startswith("/v2"):
        assert list(body) == ["error"]
        found = body["error"]
    else:
        assert set(body) == {"error", "error_type"}
        found = body["error"]
    assert isinstance(found, str)
    return found


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"3",
        b'"text"',
        b'{"inputs": NaN}',
        b'{"ignored": Infinity}',
        b'{"inputs": "\\ud800"}',
        b'{"inputs": "\xff"}',
        b"\xef\xbb\xbf{}",
        b"[" * 100_000,
        b'{"inputs":' * 2000,
        b'{"inputs":' * 900 + b"1" + b"}" * 900,
        b'{"inputs": 1e999}',
        b'{"inputs": ' + b"9" * 5000 + b"}",
        b"{}",
        b'{"inputs": "a", "inputs": 5, "input": 5, "query": 5}',
    ],
    ids=lambda content: content[:24].decode("latin-1"),
)
async def test_a_bad_body_is_the_callers_error_and_is_counted(
    embedder: Service, path: str, content: bytes
) -> None:
    headers = {"content-type": "application/json"}
    response = await embedder.client.post(path, content=content, headers=headers)
    assert response.status_code == 400
    assert message(response)
    assert [record.outcome for record in embedder.observer.requests] == ["invalid"]


@pytest.mark.parametrize("path", BODIES)
@pytest.mark.parametrize("content_type", [None, "text/plain", "application/x-www-form-urlencoded", "x", ""])
async def test_json_must_say_that_it_is(embedder: Service, path: str, content_type: str | None) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    response = await embedder.client.post(path, content=json.dumps(BODIES[path]), headers=headers)
    if path.startswith("/v2"):
        assert response.status_code == 200
    else:
        assert response.status_code == 415
        assert "application/json" in message(response)


@pytest.mark.parametrize(
    "content_type", ["application/json; charset=utf-8", "Application/JSON", "application/vnd.api+json"]
)
async def test_json_by_its_other_names(embedder: Service, content_type: str) -> None:
    content, headers = json.dumps(BODIES["/embed"]), {"content-type": content_type}
    assert (await embedder.client.post("/embed", content=content, headers=headers)).status_code == 200


def poisoned(value: Any) -> list[Any]:
    """Each body that comes of putting something wrong in one place of a good one."""
    wrong: list[Any] = [
        SECRET,
        [SECRET],
        [[[SECRET]]],
        {SECRET: SECRET},
        {"text": {SECRET: 1}},
        1e300,
        True,
        None,
    ]
    found = list(wrong)
    if isinstance(value, dict):
        found += [{**value, key: bad} for key, inner in value.items() for bad in poisoned(inner)]
    if isinstance(value, list):
        found += [[bad] for inner in value for bad in poisoned(inner)] + [[*value, bad] for bad in wrong]
    return found


@pytest.mark.parametrize("task", Task)
async def test_no_reply_repeats_what_was_wrong(task: Task) -> None:
    async with serving(task) as service:
        for path, body in BODIES.items():
            for wrong in poisoned(body | OPTIONS):
                response = await service.client.post(path, json=wrong)
                assert response.status_code < 500, (path, wrong, response.text)
                if response.status_code != 200:
                    assert SECRET not in message(response)
                    assert SECRET not in response.text


async def test_no_such_route_or_method(embedder: Service) -> None:
    for path in ("/nothing", "/v1/nothing", "/v2/nothing", "/embed/"):
        missing = await embedder.get(path)
        assert missing.status_code == 404
        assert "/docs" in message(missing)
    for path in BODIES:
        wrong = await embedder.client.put(path)
        assert wrong.status_code == 405
        assert wrong.headers["allow"] == "POST"
        assert message(wrong)


@pytest.mark.parametrize(
    ("path", "task"),
    [
        ("/v1/embeddings", Task.RERANK),
        ("/embed", Task.TOKEN_CLASSIFICATION),
        ("/predict", Task.RERANK),
        ("/rerank", Task.TEXT_CLASSIFICATION),
        ("/v1/rerank", Task.EMBEDDINGS),
    ],
)
async def test_what_the_model_does_not_do_is_not_found(path: str, task: Task) -> None:
    async with serving(task) as service:
        response = await service.client.post(path, json=BODIES[path])
    assert response.status_code == 404
    assert task.value in message(response)


async def test_a_wrong_parameter_of_a_path_or_query_is_named() -> None:
    """No route has one to check yet."""
    api = FastAPI()
    install(api)

    @api.get("/v2/count")
    async def count(number: int) -> int:
        return number

    async with httpx.AsyncClient(transport=httpx.ASGITransport(api), base_url="http://vitrine") as client:
        response = await client.get("/v2/count", params={"number": SECRET})
    assert response.status_code == 400
    assert message(response).startswith("number: ")
    assert SECRET not in response.text


async def test_refused_for_overload_with_the_time_to_wait() -> None:
    async with serving(Task.EMBEDDINGS, max_queue_tokens=8) as service:
        service.runner.hold.clear()
        first = asyncio.create_task(service.post("/embed", inputs="a b c d e f"))
        while not service.observer.requests and service.app.batcher.snapshot().executing_inputs == 0:
            await asyncio.sleep(0.01)
        for path in ("/embed", "/v1/embeddings"):
            refused = await service.post(path, inputs="a b c d", input="a b c d", model="fake")
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) >= 1
            assert "try again" in message(refused)
        service.runner.hold.set()
        assert (await first).status_code == 200
    assert [record.outcome for record in service.observer.requests] == ["rejected", "rejected", "ok"]


async def test_too_many_inputs_for_one_request(embedder: Service) -> None:
    for path, field in (("/v1/embeddings", "input"), ("/embed", "inputs")):
        response = await embedder.post(path, input=["a"] * 2049, inputs=["a"] * 2049, model="fake")
        assert response.status_code == 413
        assert "2048" in message(response)
        assert field in response.text


async def test_while_the_model_loads() -> None:
    async with serving(Task.EMBEDDINGS, start=False) as service:
        for path, body in BODIES.items():
            response = await service.client.post(path, json=body)
            assert response.status_code == 503
            assert int(response.headers["retry-after"]) >= 1
            assert message(response)
        for path in ("/v1/models", "/info", "/v2/models/fake", "/v2/models/fake/ready"):
            assert (await service.get(path)).status_code == 503
    assert {record.outcome for record in service.observer.requests} == {"rejected"}


async def test_a_deadline_that_passes(embedder: Service) -> None:
    embedder.runner.hold.clear()
    response = await embedder.client.post(
        "/embed", json={"inputs": "a"}, headers={"x-request-timeout-ms": "50"}
    )
    embedder.runner.hold.set()
    assert response.status_code == 504
    assert message(response)
    assert embedder.observer.requests[-1].outcome == "expired"


@pytest.mark.parametrize(("text", "code"), [(FAIL, "inference_failed"), (NAN, "non_finite_output")])
async def test_a_failed_inference_has_its_own_code(embedder: Service, text: str, code: str) -> None:
    response = await embedder.post("/v1/embeddings", model="fake", input=["fine", text])
    assert response.status_code == 500
    assert response.json()["error"]["code"] == code
    assert response.json()["error"]["type"] == "server_error"
    assert embedder.observer.requests[-1].outcome == "failed"


async def test_an_error_of_our_own_tells_the_caller_nothing_of_the_code(
    embedder: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(inputs: object, *, truncate: bool) -> None:
        raise RuntimeError(SECRET)

    monkeypatch.setattr(embedder.runner, "tokenize", broken)
    for path in ("/v1/embeddings", "/embed"):
        response = await embedder.post(path, model="fake", input="a", inputs="a")
        assert response.status_code == 500
        assert "x-request-id" in message(response)
        assert "x-request-id" in response.headers
        assert SECRET not in response.text


@pytest.mark.parametrize("index", [0, 1, 70])
async def test_the_input_at_fault_is_named_by_its_place(
    embedder: Service, reranker: Service, index: int
) -> None:
    texts = ["fine"] * index + [REFUSED]
    tensor = {**TENSOR, "shape": [len(texts)], "data": texts}
    for service, path, body, field in (
        (embedder, "/v1/embeddings", {"model": "fake", "input": texts}, "input"),
        (embedder, "/embed", {"inputs": texts}, "inputs"),
        (embedder, "/v2/models/fake/infer", {"inputs": [tensor]}, "inputs[0].data"),
        (reranker, "/rerank", {"query": "a", "texts": texts}, "texts"),
        (reranker, "/v1/rerank", {"query": "a", "documents": texts}, "documents"),
    ):
        response = await service.client.post(path, json=body)
        assert response.status_code == 400
        assert f"{field}[{index}]" in response.text


async def test_a_caller_that_leaves_ends_its_work(embedder: Service) -> None:
    """The ASGI server says that the client has gone while the answer is awaited."""
    embedder.runner.hold.clear()
    body = json.dumps({"inputs": "a"}).encode()
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> Any:
        message_ = next(messages, None)
        if message_ is None:
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}
        return message_

    sent: list[Any] = []

    async def send(message_: Any) -> None:
        sent.append(message_)

    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "path": "/embed",
        "raw_path": b"/embed",
        "query_string": b"",
        "root_path": "",
        "scheme": "http",
        "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))],
    }
    started = time.monotonic()
    await embedder.app.api(scope, receive, send)
    took = time.monotonic() - started
    embedder.runner.hold.set()
    assert took < 2
    assert [record.outcome for record in embedder.observer.requests] == ["cancelled"]
    assert sent[0]["status"] == 499


def test_every_error_has_its_status() -> None:
    overloaded = Overloaded("", reason="", retry_after=1)
    unavailable = Unavailable("", reason="")
    statuses: dict[int, list[VitrineError]] = {
        400: [InvalidInput(""), InputTooLong("")],
        404: [ModelNotFound(""), TaskNotSupported("")],
        413: [RequestTooLarge("")],
        429: [overloaded],
        499: [ClientGone("")],
        500: [VitrineError(""), InferenceFailed(""), OutOfMemory(""), NonFiniteOutput("")],
        503: [unavailable, WorkerDied("")],
        504: [DeadlineExceeded("")],
    }
    for status, errors in statuses.items():
        assert {kind_of(error).status for error in errors} == {status}
    assert VitrineError in KINDS
