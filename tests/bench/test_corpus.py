from pathlib import Path

import pytest

from tests.bench.corpus import corpus, lengths


def test_no_text_is_longer_than_the_model_reads(minilm: Path) -> None:
    texts = corpus(1000)
    assert len(set(texts)) == 1000
    found = lengths(minilm, texts)
    assert found["longest"] == 256
    assert found["mean"] == pytest.approx(42, abs=0.5)
