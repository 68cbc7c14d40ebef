"""Is this folder a whole model? Asked before anything of it is loaded."""

import json
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel

from app.errors import ModelError
from app.models.folder import AGAIN, MANIFEST, files_of, inside, parse_json, read_json
from app.models.manifest import Manifest
from app.models.sentence import transformer_folder

_SINGLE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")
_MAX_HEADER = 100_000_000  # safetensors' own limit

CONVERT = (
    "Vitrine loads safetensors only, since a pickle can run any code. Take a revision that has safetensors, "
    "or convert: where you trust the file, load it with Transformers' from_pretrained and write it with "
    "save_pretrained."
)


class _Index(BaseModel):
    weight_map: dict[str, str]


@dataclass(frozen=True, slots=True)
class Verification:
    """What `verify` saw of a folder that may be loaded."""

    folder: Path
    manifest: Manifest | None
    files: int
    size: int
    """Bytes of all files."""
    findings: tuple[str, ...]
    """What is worth a warning but stops nothing."""


def verify(folder: Path) -> Verification:
    """Check that the folder is a whole model and, if it has a manifest, that no byte has changed.

    Reads every byte once, about 0.1 s for 90 MB in the page cache. Raises `ModelError`, naming the file, what
    is wrong with it and the remedy.
    """
    names = check_structure(folder)
    try:
        manifest = Manifest.read(folder)
        if manifest is None:
            findings = [
                f"{folder.name} has no {MANIFEST}: its structure is sound, but a changed byte would not be "
                "noticed. `python -m app model seal` writes one."
            ]
        else:
            findings = [f"{name} is not in {MANIFEST}; nothing reads it." for name in manifest.check(folder)]
        size = sum((folder / name).stat().st_size for name in names)
    except OSError as error:
        raise _unreadable(folder, error) from error
    return Verification(folder, manifest, len(names), size, tuple(findings))


def check_structure(folder: Path) -> list[str]:
    """Check that the folder has all that loading needs, with whole safetensors; returns its files' names.

    Reads headers, not weights: a changed weight is the manifest's to find. Raises `ModelError`.
    """
    if not folder.is_dir():
        raise ModelError(
            f"{folder} is not a folder. Point APP_MODEL at a model folder, or fetch one from the Hugging "
            "Face hub with `python -m app model fetch`."
        )
    if not any((folder / name).is_file() for name in ("config.json", "modules.json")):
        raise ModelError(f"{folder} holds no config.json, so it is no Transformers model. {AGAIN}")
    try:
        names = files_of(folder)
        for name in names:
            check_content(folder, name)
        transformer = transformer_folder(folder)
        for weights in weight_files(transformer):
            check_safetensors(weights)
    except OSError as error:
        raise _unreadable(folder, error) from error
    if not (transformer / "tokenizer.json").is_file():
        raise ModelError(
            f"{folder.name} holds no tokenizer.json. Write one with Transformers: "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
        )
    return names


def check_content(folder: Path, name: str) -> None:
    """Refuse a web page or a git-lfs pointer in a file's place, and JSON that does not parse."""
    path = folder / name
    if path.suffix not in {".json", ".safetensors", ".txt"}:
        return
    with path.open("rb") as file:
        start = file.read(200).lstrip().lower()
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        raise ModelError(f"{name} is a git-lfs pointer, not the file itself: run `git lfs pull`. {AGAIN}")
    if start.startswith((b"<!doctype", b"<html")):
        raise ModelError(f"{name} is an HTML page: the download got an error or a login page. {AGAIN}")
    if path.suffix == ".json":
        parse_json(path)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors that loading will read: one, or the shards that the index lists."""
    if (folder / _SINGLE).is_file():
        return [folder / _SINGLE]
    if (folder / _INDEX).is_file():
        files = read_json(folder / _INDEX, _Index).weight_map.values()
        if not files:
            raise ModelError(f"{_INDEX} lists no files. {AGAIN}")
        shards = [inside(folder, name) for name in sorted(set(files))]
        for shard in shards:
            if not shard.is_file():
                raise ModelError(f"{shard.name} is missing, {_INDEX} lists it. {AGAIN}")
        return shards
    if pickles := sorted(path.name for pattern in _PICKLES for path in folder.glob(pattern)):
        raise ModelError(f"{folder.name} holds its weights as a pickle only ({pickles[0]}). {CONVERT}")
    raise ModelError(f"{folder.name} holds no {_SINGLE}. {AGAIN}")


def check_safetensors(path: Path) -> None:
    """Compare the file's size with what its header describes, without reading the tensors.

    The layout is https://github.com/huggingface/safetensors#format: the header's length in 8 bytes, the
    header in JSON, the tensors' bytes.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(8)
        if start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")):
            raise ModelError(f"{path.name} is a pickle by another name. {CONVERT}")
        length = int.from_bytes(start, "little")
        if not 2 <= length <= _MAX_HEADER:
            raise ModelError(f"{path.name} is not a safetensors file. {AGAIN}")
        try:
            header = json.loads(file.read(length))
            ends = (tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__")
            expected = 8 + length + max(ends, default=0)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            if size < 8 + length:
                raise ModelError(
                    f"{path.name} is truncated: {size} bytes, its header alone has {length}. {AGAIN}"
                ) from error
            raise ModelError(f"{path.name} is not a safetensors file. {AGAIN}") from error
    if size != expected:
        verdict = "is truncated" if size < expected else "is too long"
        raise ModelError(f"{path.name} {verdict}: {size} bytes, its header describes {expected}. {AGAIN}")


def _unreadable(folder: Path, error: OSError) -> ModelError:
    return ModelError(f"{error.filename or folder} cannot be read: {error.strerror}. Check its permissions.")
