"""What a person at a terminal sees once the server answers."""

import json
import shlex

from app.models.runner import ModelInfo, Task

EXAMPLES: dict[Task, tuple[str, object]] = {
    Task.EMBEDDINGS: ("/v1/embeddings", {"input": "Glass lets you see what holds."}),
    Task.TEXT_CLASSIFICATION: ("/predict", {"inputs": "Glass lets you see what holds."}),
    Task.TOKEN_CLASSIFICATION: ("/predict", {"inputs": "Lina Bo Bardi built the Glass House in São Paulo."}),
    Task.RERANK: ("/rerank", {"query": "What holds?", "texts": ["Glass does.", "It rained."]}),
}


def banner(info: ModelInfo, api: str, ops: str) -> str:
    """The addresses, and a request to paste."""
    path, body = EXAMPLES[info.task]
    if path == "/v1/embeddings" and isinstance(body, dict):
        body = {"model": info.name, **body}
    curl = f"curl {api}{path} -H 'content-type: application/json' -d {shlex.quote(json.dumps(body))}"
    return (
        f"\n{info.name} ({info.task}, {info.dtype} on {info.device}) is ready.\n"
        f"  API         {api}  (documentation at {api}/docs)\n"
        f"  operations  {ops}\n\n"
        f"Try it:\n  {curl}\n"
    )
