"""A model folder on disk: where it is, what files it has, reading its JSON. Never leaves the folder."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.errors import ModelError

MANIFEST = "vitrine-manifest.json"
AGAIN = "Fetch or copy the model again (`python -m app model fetch`)."

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")


def locate(model: str, root: Path = Path("models")) -> Path:
    """The folder of a model, given as a folder or a hub id: `fetch` keeps `org/name` in `root/org--name`."""
    if not Path(model).exists() and _HUB_ID.fullmatch(model):
        return root / model.replace("/", "--")
    return Path(model)


def files_of(folder: Path) -> list[str]:
    """The relative paths of the folder's files in order, without hidden ones and the manifest itself."""

    def walk() -> Iterator[str]:
        for path in folder.rglob("*"):
            relative = path.relative_to(folder)
            hidden = any(part.startswith(".") for part in relative.parts)
            if not hidden and relative.name != MANIFEST and path.is_file():
                yield relative.as_posix()

    return sorted(walk())


def read_json(path: Path, *, default: Any = None) -> Any:
    """The parsed file, or `default` where there is none. Raises `ModelError` if it is no JSON."""
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return default
    except ValueError as error:
        raise ModelError(
            f"{path.name} is not valid JSON ({error}): cut off, or another file. {AGAIN}"
        ) from error


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, refused with `ModelError` if it leads out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{folder.name} refers to {name!r}, which is outside of the folder. {AGAIN}")
    return path


def transformer_folder(folder: Path) -> Path:
    """Where config.json and the weights are: the folder itself, or a part that modules.json names."""
    for module in read_json(folder / "modules.json", default=[]):
        if module["type"].endswith(".Transformer"):
            return inside(folder, module["path"])
    return folder
