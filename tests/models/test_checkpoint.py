import contextlib
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.errors import ModelError
from app.models.checkpoint import ModelConfig, detect_task, read_checkpoint
from app.models.runner import Task, TextInput
from app.models.torch_runner import TorchRunner
from tests.checkpoints import EMOTIONS, edit_json, write_json
from tests.models.conftest import Load, Make


@pytest.fixture
def folder(made: Make, tmp_path: Path) -> Path:
    """An embedder, free to be changed."""
    return Path(shutil.copytree(made("embedder"), tmp_path / "model"))


@pytest.mark.parametrize(
    ("maker", "task"),
    [
        ("embedder", Task.EMBEDDINGS),
        ("text_classifier", Task.TEXT_CLASSIFICATION),
        ("token_classifier", Task.TOKEN_CLASSIFICATION),
        ("cross_encoder", Task.RERANK),
    ],
)
@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert"])
def test_the_task_is_found(made: Make, maker: str, task: Task, family: str) -> None:
    assert read_checkpoint(made(maker, family)).task is task


@pytest.mark.parametrize(
    ("architecture", "pools", "task"),
    [
        ("BertForMaskedLM", False, Task.EMBEDDINGS),
        ("Qwen3ForCausalLM", True, Task.EMBEDDINGS),
        ("RobertaForSequenceClassification", True, Task.EMBEDDINGS),
    ],
)
def test_pooling_decides_over_the_architecture(architecture: str, task: Task, *, pools: bool) -> None:
    assert detect_task(ModelConfig(architectures=[architecture]), pools=pools) is task


@pytest.mark.parametrize("config", [ModelConfig(architectures=["LlamaForCausalLM"]), ModelConfig()])
def test_a_generator_has_no_task_here(config: ModelConfig) -> None:
    with pytest.raises(ModelError, match="set APP_TASK"):
        detect_task(config, pools=False)


def test_the_task_can_be_set(made: Make, load: Load) -> None:
    runner = load(made("text_classifier"), task=Task.EMBEDDINGS)
    assert (runner.info.task, runner.info.dimensions, runner.info.labels) == (Task.EMBEDDINGS, 32, ())


@pytest.mark.parametrize("task", [Task.TEXT_CLASSIFICATION, Task.TOKEN_CLASSIFICATION])
def test_a_head_that_the_weights_lack_is_never_made_up(made: Make, task: Task) -> None:
    with pytest.raises(ModelError, match=r"The weights lack .*classifier\.(bias|weight).*set APP_TASK"):
        TorchRunner(made("embedder"), name="a-model", task=task).load()


def test_a_reranker_has_one_output(made: Make) -> None:
    with pytest.raises(ModelError, match="one output, this model 3"):
        read_checkpoint(made("text_classifier"), Task.RERANK)


def test_labels_come_by_index_and_have_names_by_default(made: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("text_classifier"), tmp_path / "model"))
    assert read_checkpoint(folder).labels == EMOTIONS
    edit_json(folder / "config.json", id2label={str(index): f"label {index}" for index in range(11)})
    assert read_checkpoint(folder).labels[9:] == ("label 9", "label 10")
    edit_json(folder / "config.json", id2label=None)
    assert read_checkpoint(folder).labels == ("LABEL_0", "LABEL_1")


def test_a_regression_is_no_classifier(made: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("text_classifier"), tmp_path / "model"))
    edit_json(folder / "config.json", problem_type="regression")
    with pytest.raises(ModelError, match="regression"):
        read_checkpoint(folder)


def test_without_modules_the_mean_is_taken_and_normalised(made: Make) -> None:
    sentence = read_checkpoint(made("embedder", pooling=None)).sentence
    assert (sentence.declared, sentence.pooling, sentence.normalize) == (False, ("mean",), True)


def test_modules_say_pooling_and_normalisation_in_the_old_form_too(folder: Path) -> None:
    write_json(
        folder / "modules.json",
        [
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
    )
    flags = {
        "pooling_mode_cls_token": True,
        "pooling_mode_mean_tokens": False,
        "pooling_mode_max_tokens": True,
    }
    write_json(folder / "1_Pooling/config.json", flags)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 20, "do_lower_case": True})
    checkpoint = read_checkpoint(folder)
    assert (checkpoint.sentence.pooling, checkpoint.sentence.normalize) == (("cls", "max"), False)
    assert (checkpoint.max_length, checkpoint.sentence.lower_case) == (20, True)


def test_the_encoder_may_live_in_a_folder_of_its_own(folder: Path, load: Load) -> None:
    part = folder / "0_Transformer"
    part.mkdir()
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (folder / name).rename(part / name)
    write_json(
        folder / "modules.json",
        [
            {"path": "0_Transformer", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        ],
    )
    assert load(folder).info.dimensions == 32


def test_a_module_that_is_not_run_is_refused(folder: Path) -> None:
    write_json(
        folder / "modules.json",
        [
            {"path": "", "type": "sentence_transformers.models.Transformer"},
            {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"path": "2_Dense", "type": "sentence_transformers.models.Dense"},
        ],
    )
    with pytest.raises(ModelError, match="asks for the module Dense"):
        read_checkpoint(folder)


def test_an_unknown_pooling_is_refused(folder: Path) -> None:
    write_json(folder / "1_Pooling/config.json", {"pooling_mode": "attention"})
    with pytest.raises(ModelError, match=r"pooling_mode.* is not understood: .*'cls', 'max', 'mean'"):
        read_checkpoint(folder)


def test_a_prompt_left_out_of_the_pooling_is_refused(made: Make, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(made("embedder", prompt="query: "), tmp_path / "model"))
    edit_json(folder / "1_Pooling/config.json", include_prompt=False)
    with pytest.raises(ModelError, match="include_prompt"):
        read_checkpoint(folder)


def test_code_in_the_repository_is_not_run(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="own", auto_map={"AutoModel": "modeling_own.OwnModel"})
    (folder / "modeling_own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(ModelError, match=r"needs code from its repository .*modeling_own.*never runs"):
        TorchRunner(folder, name="a-model").load()


def test_an_architecture_that_transformers_does_not_know(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="own")
    with pytest.raises(ModelError, match=r"Transformers cannot load the model: .*own"):
        TorchRunner(folder, name="a-model").load()


def test_a_weights_file_of_another_name_would_go_unverified(folder: Path) -> None:
    edit_json(folder / "config.json", transformers_weights="other.safetensors")
    with pytest.raises(ModelError, match="transformers_weights"):
        read_checkpoint(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    edit_json(folder / "config.json", intermediate_size=48)
    with pytest.raises(ModelError, match="Transformers cannot load the model"):
        TorchRunner(folder, name="a-model").load()


def test_a_tokenizer_of_another_model_is_refused(made: Make, folder: Path) -> None:
    shutil.copy(made("embedder", "roberta") / "tokenizer.json", folder)
    with pytest.raises(ModelError, match=r"tokenizer\.json knows \d+ tokens, the weights only"):
        TorchRunner(folder, name="a-model").load()


def test_a_tokenizer_that_is_none(folder: Path) -> None:
    write_json(folder / "tokenizer.json", {})
    with pytest.raises(ModelError, match=r"tokenizer\.json cannot be read"):
        TorchRunner(folder, name="a-model").load()


FILES = (
    "config.json",
    "modules.json",
    "1_Pooling/config.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
    "tokenizer_config.json",
    "tokenizer.json",
    "model.safetensors.index.json",
)


@pytest.mark.parametrize("content", [[], {}, 3, None, "x", ["x"], {"architectures": 3, "id2label": ["x"]}])
@pytest.mark.parametrize("name", FILES)
def test_no_content_of_a_file_makes_loading_crash(folder: Path, name: str, content: Any) -> None:
    write_json(folder / name, content)
    if name == "model.safetensors.index.json":
        (folder / "model.safetensors").unlink()
    runner = TorchRunner(folder, name="a-model", threads=1)
    with contextlib.suppress(ModelError):
        runner.load()
        runner.run(runner.tokenize([TextInput("joy")], truncate=True))


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("config.json", "architectures"),
        ("config.json", "id2label"),
        ("config.json", "vocab_size"),
        ("config.json", "max_position_embeddings"),
        ("config.json", "pad_token_id"),
        ("config.json", "hidden_act"),
        ("config.json", "dtype"),
        ("tokenizer_config.json", "model_max_length"),
        ("tokenizer_config.json", "unk_token"),
        ("tokenizer_config.json", "model_input_names"),
        ("tokenizer_config.json", "tokenizer_class"),
    ],
)
@pytest.mark.parametrize("value", ["x", -1, 0, [], {"x": "y"}, 1e30, None])
def test_no_value_in_a_file_makes_loading_crash(
    made: Make, tmp_path: Path, name: str, key: str, value: Any
) -> None:
    folder = Path(shutil.copytree(made("text_classifier"), tmp_path / "model"))
    edit_json(folder / name, **{key: value})
    runner = TorchRunner(folder, name="a-model", threads=1)
    with contextlib.suppress(ModelError):
        runner.load()
        runner.run(runner.tokenize([TextInput("joy")], truncate=True))
