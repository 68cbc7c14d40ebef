import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from app.errors import ModelError
from app.models import cli
from app.models.folder import MANIFEST, locate
from app.models.manifest import Manifest
from app.models.torch_runner import TorchRunner
from app.models.weights import verify
from tests.checkpoints import edit_json, write_json
from tests.models.conftest import Make

WEIGHTS = "model.safetensors"


@pytest.fixture
def folder(made: Make, tmp_path: Path) -> Path:
    """A sealed folder, free to be damaged."""
    copy = tmp_path / "my-model"
    shutil.copytree(made("embedder"), copy)
    cli.seal(copy)
    return copy


def unsealed(folder: Path) -> Path:
    (folder / MANIFEST).unlink()
    return folder


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def refusal(folder: Path) -> str:
    """What is said of the folder, having seen that the runner says it too, and loads nothing."""
    with pytest.raises(ModelError) as by_runner:
        TorchRunner(folder, name="a-model", threads=1).load()
    with pytest.raises(ModelError) as refused:
        verify(folder)
    assert by_runner.value.message == refused.value.message
    assert by_runner.value.exit_code == 66
    return refused.value.message


def test_a_sealed_folder_is_whole(folder: Path) -> None:
    found = verify(folder)
    assert found.findings == ()
    assert found.manifest is not None
    assert found.manifest.files[WEIGHTS].size == (folder / WEIGHTS).stat().st_size
    assert "1_Pooling/config.json" in found.manifest.files


def test_without_a_manifest_it_may_be_loaded_with_a_warning(folder: Path) -> None:
    found = verify(unsealed(folder))
    assert found.manifest is None
    assert "has no vitrine-manifest.json" in found.findings[0]
    assert "`python -m app model seal`" in found.findings[0]


def test_a_flipped_weight_bit_is_found_which_safetensors_would_load(folder: Path) -> None:
    original = (folder / WEIGHTS).read_bytes()
    flip_bit(folder / WEIGHTS)
    load_file(folder / WEIGHTS)  # raises nothing
    said = refusal(folder)
    assert said.startswith("model.safetensors has sha256 ")
    assert Manifest.read(folder).files[WEIGHTS].sha256 in said  # type: ignore[union-attr]
    assert "Copy the folder again" in said
    (folder / WEIGHTS).write_bytes(original)
    verify(folder)


def cut(folder: Path) -> None:
    content = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(content[:-1000])


def cut_in_header(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:100])


def lengthen(folder: Path) -> None:
    with (folder / WEIGHTS).open("ab") as file:
        file.write(b"rubbish")


def html(folder: Path) -> None:
    (folder / WEIGHTS).write_text("\n<!DOCTYPE html>\n<html><title>Sign in</title></html>")


def html_config(folder: Path) -> None:
    (folder / "config.json").write_text("<html>404</html>")


def pointer(folder: Path) -> None:
    (folder / WEIGHTS).write_text(
        "version https://git-lfs.github.com/spec/v1\noid sha256:53aa\nsize 90868376\n"
    )


def pickle_by_another_name(folder: Path) -> None:
    torch.save({"weight": torch.zeros(2)}, folder / WEIGHTS)


def pickle_only(folder: Path) -> None:
    torch.save(load_file(folder / WEIGHTS), folder / "pytorch_model.bin")
    (folder / WEIGHTS).unlink()


def empty(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"")


def noise(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(bytes(range(256)) * 10)


def header_of_another_kind(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(len(b'{"a":1}').to_bytes(8, "little") + b'{"a":1}')


def no_weights(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "modules.json").unlink()


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def half_a_config(folder: Path) -> None:
    text = (folder / "config.json").read_text()
    (folder / "config.json").write_text(text[: len(text) // 2])


def outside(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    modules[0]["path"] = "../elsewhere"
    write_json(folder / "modules.json", modules)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (cut, "model.safetensors is truncated: "),
        (cut_in_header, "model.safetensors is truncated: 100 bytes"),
        (lengthen, "model.safetensors is too long: "),
        (html, "model.safetensors is an HTML page"),
        (html_config, "config.json is an HTML page"),
        (pointer, "model.safetensors is a git-lfs pointer, not the file itself: run `git lfs pull`"),
        (pickle_by_another_name, "model.safetensors is a pickle by another name"),
        (
            pickle_only,
            "holds its weights as a pickle only (pytorch_model.bin). Vitrine loads safetensors only",
        ),
        (empty, "model.safetensors is not a safetensors file"),
        (noise, "model.safetensors is not a safetensors file"),
        (header_of_another_kind, "model.safetensors is not a safetensors file"),
        (no_weights, "my-model holds no model.safetensors"),
        (no_config, "holds no config.json, so it is no Transformers model"),
        (no_tokenizer, "holds no tokenizer.json. Write one with Transformers"),
        (half_a_config, "config.json is not valid JSON"),
        (outside, "refers to '../elsewhere', which is outside of the folder"),
    ],
)
@pytest.mark.parametrize("sealed", [False, True])
def test_what_is_no_whole_model_is_named(
    folder: Path, fault: Callable[[Path], None], said: str, *, sealed: bool
) -> None:
    if not sealed:
        unsealed(folder)
    fault(folder)
    assert said in refusal(folder)


def test_no_folder(tmp_path: Path) -> None:
    assert "python -m app model fetch" in refusal(tmp_path / "missing")


def test_a_file_that_the_manifest_lists_is_missing(folder: Path) -> None:
    (folder / "1_Pooling/config.json").unlink()
    assert "1_Pooling/config.json is missing" in refusal(folder)


def test_a_changed_setting_is_found(folder: Path) -> None:
    edit_json(folder / "1_Pooling/config.json", pooling_mode="mear")
    assert "1_Pooling/config.json has sha256" in refusal(folder)


def test_a_file_that_loading_might_read_must_be_in_the_manifest(folder: Path) -> None:
    write_json(folder / "adapter_config.json", {})
    assert "adapter_config.json is not in vitrine-manifest.json" in refusal(folder)


def test_code_in_the_folder_is_told_and_never_run(folder: Path) -> None:
    (folder / "modeling_bert.py").write_text("raise SystemExit('ran')")
    assert verify(folder).findings == ("modeling_bert.py is not in vitrine-manifest.json; nothing reads it.",)
    TorchRunner(folder, name="a-model", threads=1).load()


def test_a_broken_manifest_is_an_error_not_none(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"files": 3}')
    assert "vitrine-manifest.json cannot be read" in refusal(folder)


def test_unreadable_files_are_named(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to("/proc/self/mem")
    assert "cannot be read: Input/output error" in refusal(folder)


def test_shards_are_checked_and_loaded(folder: Path) -> None:
    AutoModel.from_pretrained(folder).save_pretrained(folder, max_shard_size="30KB")
    (folder / WEIGHTS).unlink()
    shards = sorted(folder.glob("model-*.safetensors"))
    assert len(shards) > 1
    cli.seal(folder)
    TorchRunner(folder, name="a-model", threads=1).load()
    flip_bit(shards[1])
    assert f"{shards[1].name} has sha256" in refusal(folder)
    shards[1].write_bytes(shards[1].read_bytes()[:-10])
    assert f"{shards[1].name} is truncated" in refusal(unsealed(folder))
    shards[1].unlink()
    assert f"{shards[1].name} is missing, model.safetensors.index.json lists it" in refusal(folder)
    edit_json(folder / "model.safetensors.index.json", weight_map={})
    assert "model.safetensors.index.json lists no files" in refusal(folder)


def test_sealing_again_takes_a_meant_change(folder: Path) -> None:
    edit_json(folder / "1_Pooling/config.json", pooling_mode="cls")
    said = cli.seal(folder, source="me/my-model", revision="v2")
    assert "whole as vitrine-manifest.json says" in said
    manifest = Manifest.read(folder)
    assert manifest is not None
    assert (manifest.source, manifest.revision) == ("me/my-model", "v2")


def test_sealing_refuses_what_is_no_model(folder: Path) -> None:
    cut(folder)
    with pytest.raises(ModelError, match="truncated"):
        cli.seal(folder)


def test_the_command_tells_of_a_missing_manifest(folder: Path) -> None:
    assert "whole by structure only" in cli.verify(unsealed(folder))
    assert "warning: my-model has no" in cli.verify(folder)


def test_a_hub_id_stands_for_its_folder_unless_there_is_one(tmp_path: Path) -> None:
    assert locate("org/name", tmp_path) == tmp_path / "org--name"
    assert locate(str(tmp_path)) == tmp_path
    assert locate("./org/name") == Path("org/name")


def test_the_real_weights_are_the_published_ones(minilm: Path) -> None:
    files = Manifest.of(minilm, source="sentence-transformers/all-MiniLM-L6-v2", revision=None).files
    assert files[WEIGHTS].sha256 == "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
