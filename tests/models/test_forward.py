"""The fast ways to compute a batch give what the stock, padded way gives, or are not taken."""

import subprocess
import sys
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
import pytest
import torch
from transformers import AutoModel

from app.models.packed import PackedForward
from app.models.padded import PaddedForward
from app.models.runner import Row, TextInput, TokenizedInput
from app.models.torch_runner import BATCH_TOKENS, TorchRunner
from tests.checkpoints import Family
from tests.models.conftest import MIXED, Load, Make

PACKED: tuple[Family, ...] = ("bert", "roberta", "distilbert", "xlm-roberta", "modernbert", "qwen3")


def tokenized(runner: TorchRunner) -> list[TokenizedInput]:
    return runner.tokenize([TextInput(text) for text in MIXED], truncate=True)


def assert_close(rows: list[Row], expected: list[Row]) -> None:
    for row, other in zip(rows, expected, strict=True):
        np.testing.assert_allclose(row, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("family", get_args(Family))
def test_embeddings_are_transformers_own_one_by_one(made: Make, load: Load, family: Family) -> None:
    pooling = "lasttoken" if family == "qwen3" else "mean"
    folder = made("embedder", family, pooling=pooling, normalize=False)
    runner = load(folder)
    stock = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    expected = []
    for item in tokenized(runner):
        with torch.inference_mode():
            hidden = stock(input_ids=torch.tensor([item.ids])).last_hidden_state[0]
        expected.append((hidden[-1] if family == "qwen3" else hidden.mean(dim=0)).numpy())
    assert_close(runner.run(tokenized(runner)), expected)


@pytest.mark.parametrize("family", PACKED)
def test_batches_of_these_are_not_padded(made: Make, load: Load, family: Family) -> None:
    assert not load(made("embedder", family)).info.pads


@pytest.mark.parametrize("maker", ["text_classifier", "token_classifier", "cross_encoder"])
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "modernbert"])
def test_heads_see_their_own_text_only(made: Make, load: Load, maker: str, family: Family) -> None:
    runner = load(made(maker, family))
    assert not runner.info.pads
    batch = tokenized(runner)
    alone = [row for item in batch for row in runner.run([item])]
    assert_close(runner.run(batch), alone)


def test_a_model_with_its_own_attention_is_padded_and_the_log_says_why(
    made: Make, caplog: pytest.LogCaptureFixture
) -> None:
    runner = TorchRunner(made("embedder", "deberta-v2"), name="a-model", threads=1)
    runner.load()
    assert runner.info.pads
    (line,) = [vars(record) for record in caplog.records if record.getMessage() == "forward_unfit"]
    assert line["forward"] == "packed"
    assert "off by" in line["error"]


@pytest.mark.parametrize("fault", ["raises", "is wrong", "is not a number"])
def test_layers_that_onednn_does_not_compute_right_stay_torchs_own(
    made: Make, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    class Faulty(torch.nn.Module):
        def __init__(self, stock: torch.nn.Linear, *, gelu: bool) -> None:
            super().__init__()
            assert gelu in {True, False}
            self.linear = stock

        def forward(self, states: torch.Tensor) -> torch.Tensor:
            if fault == "raises":
                raise RuntimeError("could not create a primitive")
            off: torch.Tensor = self.linear(states) * (1.01 if fault == "is wrong" else float("nan"))
            return off

    monkeypatch.setattr("app.models.prepacked.PrepackedLinear", Faulty)
    folder = made("embedder", "bert")
    runner = TorchRunner(folder, name="a-model", threads=1)
    runner.load()
    batch = tokenized(runner)
    stock = PaddedForward(
        AutoModel.from_pretrained(folder).eval(), field="last_hidden_state", token_types=True
    )
    with torch.inference_mode():
        assert_close(runner.run(batch), runner._head.rows(*stock(batch), batch))
    assert not any(isinstance(module, Faulty) for module in runner._forward.model.modules())


@pytest.mark.parametrize("family", PACKED)
def test_a_batch_runs_without_python(made: Make, load: Load, family: Family) -> None:
    runner = load(made("embedder", family))
    assert isinstance(runner._forward, PackedForward)
    assert isinstance(runner._forward._run, torch.jit.ScriptModule)


def test_a_model_that_cannot_be_traced_goes_without(
    made: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # A model that takes the first example's lengths for granted
    def wrong(run: Callable[..., Any], example: Any, **_: object) -> Callable[..., Any]:
        return lambda *_: run(*example)

    monkeypatch.setattr(torch.jit, "trace", wrong)
    runner = TorchRunner(made("embedder", "bert"), name="a-model", threads=1)
    runner.load()
    lines = [vars(record)["forward"] for record in caplog.records if record.getMessage() == "forward_unfit"]
    assert lines == ["traced"]
    assert not runner.info.pads
    batch = tokenized(runner)
    assert_close(runner.run(batch), [row for item in batch for row in runner.run([item])])


def test_loading_says_nothing_that_an_operator_need_not_know(made: Make) -> None:
    # In a process of its own: Transformers says such things once.
    load = f"""
import logging
from pathlib import Path
logging.basicConfig(level=logging.WARNING, format="%(message)s")
from app.models.torch_runner import TorchRunner
TorchRunner(Path({str(made("embedder", "bert"))!r}), name="a-model").load()
"""
    done = subprocess.run([sys.executable, "-c", load], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines() == ["model_finding"]


def test_half_precision_stays_near_float32(made: Make, load: Load) -> None:
    folder = made("embedder", "bert")
    exact, half = load(folder), load(folder, dtype="bfloat16")
    assert half.info.dtype == "bfloat16"
    for row, other in zip(exact.run(tokenized(exact)), half.run(tokenized(half)), strict=True):
        assert float(row @ other) > 0.99


def test_warming_up_finds_the_size_of_a_batch(made: Make) -> None:
    runner = TorchRunner(made("embedder", "bert"), name="a-model", threads=1)
    runner.load()
    runner.warm_up()
    assert runner.batch_tokens in BATCH_TOKENS
