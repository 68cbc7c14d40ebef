import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer

from app.models.runner import Row, TextInput
from app.models.sentence import POOLING_MODES
from app.models.torch_runner import TorchRunner
from tests.checkpoints import write_json
from tests.models.conftest import MIXED, Load, Make

ENGLISH = (
    "A man is eating food.",
    "He wore a bright red hat to the party and everybody, without exception, noticed it at once.",
    "e\u0301clair \U0001f370 caf\u00e9 na\u00efve \u4e2d\u6587 \u0645\u0631\u062d\u0628\u0627",
    "",
    "The quick brown fox jumps over the lazy dog. " * 40,
    "tokens " * 150,
)


def embed(runner: TorchRunner, texts: Sequence[str]) -> list[Row]:
    return runner.run(runner.tokenize([TextInput(text) for text in texts], truncate=True))


def by_sentence_transformers(folder: Path, texts: Sequence[str]) -> Any:
    return SentenceTransformer(str(folder), device="cpu").encode(list(texts), show_progress_bar=False)


def check_equal(ours: Sequence[Row], theirs: Any) -> None:
    np.testing.assert_allclose(np.stack(ours), theirs, atol=2e-6)
    assert all(row.dtype == np.float32 for row in ours)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "xlm-roberta"])
def test_embeddings_are_sentence_transformers_own(made: Make, load: Load, family: str) -> None:
    folder = made("embedder", family)
    check_equal(embed(load(folder), MIXED), by_sentence_transformers(folder, MIXED))


@pytest.mark.parametrize("pooling", [*POOLING_MODES, ("cls", "mean")])
@pytest.mark.parametrize("normalize", [True, False])
def test_every_pooling(made: Make, load: Load, pooling: Any, *, normalize: bool) -> None:
    folder = made("embedder", pooling=pooling, normalize=normalize)
    ours = embed(load(folder), MIXED)
    assert len(ours[0]) == load(folder).info.dimensions
    np.testing.assert_allclose(np.stack(ours), by_sentence_transformers(folder, MIXED), rtol=1e-4, atol=2e-6)


def test_a_default_prompt_is_put_before_each_text(made: Make, load: Load) -> None:
    folder = made("embedder", prompt="what is the capital: ")
    ours = embed(load(folder), MIXED)
    check_equal(ours, by_sentence_transformers(folder, MIXED))
    assert np.abs(ours[0] - embed(load(made("embedder")), MIXED)[0]).max() > 0.01


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_texts_are_lowercased_where_the_folder_says_so(
    made: Make, load: Load, tmp_path: Path, family: str
) -> None:
    folder = Path(shutil.copytree(made("embedder", family), tmp_path / "model"))
    write_json(folder / "sentence_bert_config.json", {"do_lower_case": True})
    texts = ("JOY in Paris", "joy in paris", "ZÜRICH")
    ours = embed(load(folder), texts)
    check_equal(ours, by_sentence_transformers(folder, texts))
    np.testing.assert_array_equal(ours[0], ours[1])


def test_minilm(minilm: Path, load: Load) -> None:
    runner = load(minilm)
    assert (runner.info.dimensions, runner.info.architecture) == (384, "BertModel")
    check_equal(embed(runner, ENGLISH), by_sentence_transformers(minilm, ENGLISH))


def test_minilm_by_itself_or_in_company(minilm: Path, load: Load) -> None:
    runner = load(minilm)
    together = embed(runner, ENGLISH)
    for row, text in zip(together, ENGLISH, strict=True):
        np.testing.assert_allclose(row, embed(runner, [text])[0], atol=2e-6)
        assert abs(float(np.linalg.norm(row)) - 1) < 1e-5


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_gives_float32_rows_close_by(minilm: Path, load: Load, dtype: Any) -> None:
    runner = load(minilm, dtype=dtype)
    assert runner.info.dtype == dtype
    for half, full in zip(embed(runner, ENGLISH[:3]), embed(load(minilm), ENGLISH[:3]), strict=True):
        assert half.dtype == np.float32
        assert float(half @ full) > 0.999
