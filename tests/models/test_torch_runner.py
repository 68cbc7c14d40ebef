import gc
import itertools
import shutil
import socket
import subprocess
import sys
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from app.errors import DeviceLost, DeviceUnavailable, ModelError, OutOfMemory
from app.models import cli, torch_runner
from app.models.forward import Forward
from app.models.runner import Task, TextInput
from app.models.torch_runner import TorchRunner
from tests.checkpoints import EMOTIONS, MAX_TOKENS, edit_json
from tests.models.conftest import MIXED, Load, Make

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def texts(runner: TorchRunner, *inputs: str) -> Any:
    return runner.tokenize([TextInput(text) for text in inputs], truncate=True)


def test_info_tells_what_is_served_and_no_path(made: Make, load: Load, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("text_classifier", multi_label=True), tmp_path / "my-model"))
    info = load(folder).info
    assert (info.name, info.source, info.revision) == ("a-model", "my-model", None)
    assert (info.task, info.architecture) == (Task.TEXT_CLASSIFICATION, "BertForSequenceClassification")
    assert (info.device, info.dtype, info.max_tokens) == ("cpu", "float32", MAX_TOKENS)
    assert (info.dimensions, info.labels, info.multi_label) == (None, EMOTIONS, True)
    cli.seal(folder, source="me/my-model", revision=COMMIT)
    sealed = TorchRunner(folder, name="a-model", threads=1)
    sealed.load()
    assert (sealed.info.source, sealed.info.revision) == ("me/my-model", COMMIT)


def test_a_model_of_another_revision_than_the_one_asked_for_is_refused(made: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("embedder"), tmp_path / "my-model"))
    cli.seal(folder, source="me/my-model", revision=COMMIT)
    TorchRunner(folder, name="a-model", revision=COMMIT).load()
    with pytest.raises(ModelError, match=f"APP_MODEL_REVISION is deadbeef, but my-model is of {COMMIT}"):
        TorchRunner(folder, name="a-model", revision="deadbeef").load()


def test_a_folder_without_a_manifest_is_served_with_a_warning(
    made: Make, caplog: pytest.LogCaptureFixture
) -> None:
    TorchRunner(made("embedder"), name="a-model", threads=1).load()
    assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
        ("WARNING", "model_finding")
    ]
    assert "has no vitrine-manifest.json" in vars(caplog.records[0])["finding"]


def test_transformers_lines_go_the_way_of_all_others(
    made: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = Path(shutil.copytree(made("embedder"), tmp_path / "model"))
    edit_json(folder / "config.json", eos_token_id=10**6)  # of which Transformers warns
    TorchRunner(folder, name="a-model", threads=1).load()
    assert any(record.name.startswith("transformers.") for record in caplog.records)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_roberta_reads_fewer_tokens_than_it_has_positions(made: Make, tmp_path: Path, family: str) -> None:
    folder = Path(shutil.copytree(made("embedder", family), tmp_path / "model"))
    (folder / "tokenizer_config.json").unlink()  # which would limit it to the same
    runner = TorchRunner(folder, name="a-model", threads=1)
    runner.load()
    assert runner.info.max_tokens == MAX_TOKENS
    runner.run(texts(runner, "fox " * 1000))


def test_loading_and_running_never_reach_for_the_network(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise SystemExit(f"reached for {args}")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    runner = TorchRunner(made("embedder"), name="a-model", threads=1)
    runner.load()
    runner.warm_up()
    runner.run(texts(runner, "joy"))


@pytest.mark.parametrize("maker", ["embedder", "text_classifier", "token_classifier", "cross_encoder"])
def test_warming_up_takes_every_task(made: Make, load: Load, maker: str) -> None:
    load(made(maker)).warm_up()


def test_warming_up_keeps_to_a_small_batch(made: Make, load: Load) -> None:
    load(made("embedder"), max_batch_tokens=4).warm_up()


def test_the_threads_hold_for_the_thread_that_runs(made: Make) -> None:
    before = torch.get_num_threads()
    try:
        TorchRunner(made("embedder"), name="a-model", threads=2).load()
        with ThreadPoolExecutor(1) as worker:
            assert worker.submit(torch.get_num_threads).result() == 2
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("held_up", [0, 20])
def test_a_batch_that_is_alone_has_as_many_threads_as_do_it_good(
    made: Make, monkeypatch: pytest.MonkeyPatch, held_up: int
) -> None:
    took = {1: 4.0, 2: 2.1, 4: 2.0, 8: 3.0}
    helped = itertools.count()
    monkeypatch.setattr(torch_runner, "cpu_quota", lambda: 8)
    runner = TorchRunner(made("embedder"), name="a-model", device="cpu", threads=1)
    runner.load()
    sample = runner._sample
    threads: list[int] = []

    def measured(inputs: int, tokens: int, *, alone: bool = False) -> float:
        seconds = sample(inputs, tokens, alone=alone)
        if not alone:
            return seconds
        number = torch.get_num_threads()
        return took[1 if number > 1 and next(helped) < held_up else number]

    monkeypatch.setattr(runner, "_sample", measured)
    runner.warm_up()
    monkeypatch.setattr(runner, "_forward", _noting(runner._forward, threads))
    batch = texts(runner, *MIXED)
    with ThreadPoolExecutor(1) as worker:
        usual, alone, after = (
            worker.submit(runner.run, batch, alone=alone).result() for alone in (False, True, False)
        )
    assert threads == [1, 2, 1]
    np.testing.assert_allclose(alone, usual, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(after, usual)


def _noting(forward: Forward, threads: list[int]) -> Any:
    def noting(batch: Any) -> Any:
        threads.append(torch.get_num_threads())
        return forward(batch)

    return noting


def test_several_threads_may_run_at_once(made: Make, load: Load) -> None:
    runner = load(made("embedder"))
    batches = [texts(runner, text, "fox " * length) for text in MIXED for length in (1, 7, 30)]
    alone = [runner.run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as workers:
        for expected, got in zip(alone, workers.map(runner.run, batches), strict=True):
            np.testing.assert_array_equal(got, expected)


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_that_is_not_there(made: Make) -> None:
    with pytest.raises(
        DeviceUnavailable, match="APP_DEVICE=cuda, but this build of torch is for the CPU"
    ) as refused:
        TorchRunner(made("embedder"), name="a-model", device="cuda").load()
    assert refused.value.exit_code == 69


@pytest.mark.skipif(torch.cuda.is_available(), reason="has a GPU")
def test_a_gpu_build_of_torch_that_finds_none(made: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(DeviceUnavailable, match="torch sees no GPU; check `nvidia-smi`"):
        TorchRunner(made("embedder"), name="a-model", device="cuda").load()


def test_a_batch_that_does_not_fit_leaves_the_runner_whole(made: Make) -> None:
    """In a process with little address space, since the CPU's allocator fails for real there."""
    code = f"""
import resource
from pathlib import Path
from app.errors import OutOfMemory
from app.models.runner import TextInput
from app.models.torch_runner import TorchRunner
runner = TorchRunner(Path({str(made("embedder"))!r}), name="a-model", threads=1)
runner.load()
small = runner.tokenize([TextInput("joy")], truncate=True)
expected = runner.run(small)
large = runner.tokenize([TextInput("fox " * 60)], truncate=True) * 5_000
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000,) * 2)
try:
    runner.run(large)
except OutOfMemory as error:
    print(error, error.__cause__, error.__context__)
assert (runner.run(small)[0] == expected[0]).all()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "A batch of 5000 inputs, the longest of 62 tokens, does not fit into memory. None None\n"
    )


def fail_with(runner: TorchRunner, monkeypatch: pytest.MonkeyPatch, error: Exception) -> list[Any]:
    """Makes the forward pass fail after it has allocated something; returns a reference to that."""
    seen: list[Any] = []

    def forward(_batch: Any) -> None:
        hidden = torch.zeros(10)
        seen.append(weakref.ref(hidden))
        raise error

    monkeypatch.setattr(runner, "_forward", forward)
    return seen


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory"), OutOfMemory),
        (MemoryError(), OutOfMemory),
        (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), DeviceLost),
    ],
)
def test_a_gpus_failures_are_told_apart_and_hold_no_memory(
    made: Make, load: Load, monkeypatch: pytest.MonkeyPatch, error: Exception, expected: type[Exception]
) -> None:
    runner = load(made("embedder"))
    seen = fail_with(runner, monkeypatch, error)
    with pytest.raises(expected) as raised:
        runner.run(texts(runner, "joy"))
    error.__traceback__ = None
    gc.collect()
    assert seen[0]() is None
    assert raised.value.__context__ is None


def test_any_other_failure_is_passed_on(made: Make, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = load(made("embedder"))
    fail_with(runner, monkeypatch, RuntimeError("some bug"))
    with pytest.raises(RuntimeError, match="some bug"):
        runner.run(texts(runner, "joy"))


def test_importing_what_the_api_needs_loads_no_torch() -> None:
    code = (
        "import sys, app.models.cli, app.models.postprocess, app.models.runner, app.models.folder\n"
        "print({'torch', 'transformers', 'tokenizers', 'huggingface_hub'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout == "set()\n"
