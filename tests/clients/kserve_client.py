"""`python kserve_client.py URL MODEL TEXTS` asks by KServe's client and prints the answers as JSON, one line.

It runs in an environment of its own, where there is KServe's package and none of the server's.
"""

import asyncio
import json
import sys
from typing import Any

import httpx
import numpy as np
from kserve import (  # type: ignore[import-not-found]
    InferenceRESTClient,
    InferInput,
    InferRequest,
    RESTConfig,
)
from kserve.protocol.infer_type import RequestedOutput  # type: ignore[import-not-found]


async def main(url: str, model: str, texts: list[str]) -> dict[str, Any]:
    async with InferenceRESTClient(RESTConfig(protocol="v2")) as client:

        def request(*, binary: bool) -> InferRequest:
            tensor = InferInput("text", [len(texts)], "BYTES")
            tensor.set_data_from_numpy(
                np.array([text.encode() for text in texts], object), binary_data=binary
            )
            wanted = [RequestedOutput("embeddings", {"binary_data": binary})]
            return InferRequest(model, [tensor], request_id="mine", request_outputs=wanted)

        found: dict[str, Any] = {
            "live": await client.is_server_live(url),
            "ready": await client.is_server_ready(url),
            "model_ready": await client.is_model_ready(url, model),
            "other_model_ready": await client.is_model_ready(url, "other"),
        }
        for form in ("binary", "json"):
            response = await client.infer(url, request(binary=form == "binary"), model_name=model)
            found[form] = response.outputs[0].as_numpy().tolist()
            found["id"] = response.id
        try:
            await client.infer(url, request(binary=True), model_name="other")
        except httpx.HTTPStatusError as error:
            found["error"] = str(error)
        return found


if __name__ == "__main__":
    print(json.dumps(asyncio.run(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])))))
