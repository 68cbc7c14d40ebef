import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from app.errors import InputTooLong, InvalidInput
from app.models.runner import Input, TextInput, TokenIdsInput, TokenizedInput
from app.models.torch_runner import TorchRunner
from tests.checkpoints import MAX_TOKENS, edit_json
from tests.models.conftest import MIXED, Load, Make

FAMILIES = ["bert", "roberta", "distilbert", "xlm-roberta"]
LONG = "the fox and the dog " * 100


def one(runner: TorchRunner, text: str, pair: str | None = None, *, truncate: bool = True) -> TokenizedInput:
    return runner.tokenize([TextInput(text, pair)], truncate=truncate)[0]


def by_transformers(folder: Path, *texts: str, limit: int) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    return dict(tokenizer(*texts, truncation=True, max_length=limit))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("text", MIXED)
def test_ids_are_transformers_own(made: Make, load: Load, family: str, text: str) -> None:
    folder = made("embedder", family)
    ours = one(load(folder), text)
    assert ours.ids == by_transformers(folder, text, limit=MAX_TOKENS)["input_ids"]
    assert len(ours.type_ids) == ours.tokens


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("texts", [("joy", "anger"), ("joy", LONG), (LONG, "joy"), (LONG, LONG)])
def test_pairs_are_cut_as_transformers_does(
    made: Make, load: Load, family: str, texts: tuple[str, str]
) -> None:
    folder = made("cross_encoder", family)
    ours = one(load(folder), *texts)
    theirs = by_transformers(folder, *texts, limit=MAX_TOKENS)
    assert ours.ids == theirs["input_ids"]
    assert ours.truncated == (LONG in texts)
    if family == "bert":
        assert ours.type_ids == theirs["token_type_ids"]


def test_the_start_is_cut_off_where_the_folder_says_so(made: Make, load: Load, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("embedder"), tmp_path / "model"))
    edit_json(folder / "tokenizer_config.json", truncation_side="left")
    text = LONG + "in Paris"
    ours = one(load(folder), text)
    assert ours.ids == by_transformers(folder, text, limit=MAX_TOKENS)["input_ids"]
    whole = AutoTokenizer.from_pretrained(folder)(text, add_special_tokens=False)["input_ids"]
    by_ids = load(folder).tokenize([TokenIdsInput(tuple(whole))], truncate=True)[0]
    assert list(by_ids.ids) == ours.ids


def test_a_text_of_exactly_the_limit_is_whole(made: Make, load: Load) -> None:
    runner = load(made("embedder"))
    exact = one(runner, "fox " * (MAX_TOKENS - 2), truncate=False)
    assert (exact.tokens, exact.truncated) == (MAX_TOKENS, False)
    longer = one(runner, "fox " * (MAX_TOKENS - 1))
    assert (longer.tokens, longer.truncated) == (MAX_TOKENS, True)


@pytest.mark.parametrize(
    ("maker", "item", "tokens"),
    [
        ("embedder", TextInput("fox " * 100), 102),
        ("cross_encoder", TextInput("fox " * 100, "dog " * 200), 303),
        ("cross_encoder", TextInput("fox", "dog " * 200), 204),
        ("embedder", TokenIdsInput((5,) * 100), 102),
    ],
)
def test_too_long_an_input_is_named_with_its_length(
    made: Make, load: Load, maker: str, item: TextInput, tokens: int
) -> None:
    with pytest.raises(InputTooLong, match=f"Input 1 has {tokens} tokens.* at most 64") as refused:
        load(made(maker)).tokenize([TextInput("joy"), item, TextInput("joy")], truncate=False)
    assert refused.value.field == "1"


def test_minilm_reads_256_tokens_though_its_tokenizer_says_128_and_pads(minilm: Path, load: Load) -> None:
    runner = load(minilm)
    assert runner.info.max_tokens == 256
    assert one(runner, "joy").tokens == 3
    assert one(runner, "joy " * 200).tokens == 202
    assert (one(runner, "joy " * 300).tokens, one(runner, "joy " * 300).truncated) == (256, True)


def test_token_ids_are_read_as_their_text_would_be(made: Make, load: Load) -> None:
    for family in FAMILIES:
        runner = load(made("embedder", family))
        text = one(runner, "the fox in Paris")
        ids = runner.tokenize([TokenIdsInput(tuple(text.ids[1:-1]))], truncate=False)[0]
        assert (list(ids.ids), list(ids.type_ids)) == (list(text.ids), list(text.type_ids))


def test_token_ids_are_cut_before_the_last_special_token(made: Make, load: Load) -> None:
    runner = load(made("embedder"))
    cut = runner.tokenize([TokenIdsInput(tuple(range(5, 105)))], truncate=True)[0]
    assert (cut.tokens, cut.truncated) == (MAX_TOKENS, True)
    assert list(cut.ids[1:-1]) == list(range(5, 5 + MAX_TOKENS - 2))
    assert cut.ids[-1] == one(runner, "").ids[-1]


@pytest.mark.parametrize("bad", [-1, 139, 10**9])
def test_an_id_outside_of_the_vocabulary_is_refused(made: Make, load: Load, bad: int) -> None:
    with pytest.raises(
        InvalidInput, match="Input 1 holds a token id outside of the vocabulary, 0 to 138"
    ) as refused:
        load(made("embedder")).tokenize([TextInput("joy"), TokenIdsInput((5, bad))], truncate=True)
    assert refused.value.field == "1"


@pytest.mark.parametrize("item", [TextInput("a\ud800"), TextInput("joy", "\udfff")])
def test_a_lone_surrogate_is_refused(made: Make, load: Load, item: TextInput) -> None:
    with pytest.raises(InvalidInput, match="Input 1 holds a lone surrogate") as refused:
        load(made("cross_encoder")).tokenize([TextInput("joy"), item], truncate=True)
    assert refused.value.field == "1"


@pytest.mark.parametrize("text", ["", "\0", "\n", "\U0001f468\u200d\U0001f469", "e\u0301" * 50])
def test_any_unicode_is_read(made: Make, load: Load, text: str) -> None:
    for family in FAMILIES:
        assert one(load(made("embedder", family)), text).tokens >= 2


def test_texts_and_ids_may_come_mixed(made: Make, load: Load) -> None:
    runner = load(made("embedder"))
    inputs: list[Input] = [TextInput("joy"), TokenIdsInput((7, 8)), TextInput("anger"), TokenIdsInput(())]
    together = runner.tokenize(inputs, truncate=True)
    alone = [runner.tokenize([item], truncate=True)[0] for item in inputs]
    assert [list(item.ids) for item in together] == [list(item.ids) for item in alone]


def test_token_classification_wants_one_text(made: Make, load: Load) -> None:
    runner = load(made("token_classifier"))
    for item in (TextInput("joy", "anger"), TokenIdsInput((5,))):
        with pytest.raises(InvalidInput) as refused:
            runner.tokenize([TextInput("joy"), item], truncate=True)
        assert refused.value.field == "1"


def test_no_input_may_be_longer_than_a_batch(made: Make, load: Load) -> None:
    runner = load(made("embedder"), max_batch_tokens=10)
    assert runner.info.max_tokens == 10
    assert one(runner, LONG).tokens == 10
