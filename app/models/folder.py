"""A model folder on disk: where it is, what files it has, reading its JSON. Never leaves the folder."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from app.errors import ModelError

MANIFEST = "vitrine-manifest.json"
AGAIN = "Fetch or copy the model again (`python -m app model fetch`)."

Content = TypeVar("Content", bound=BaseModel)

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


def inside(folder: Path, name: str) -> Path:
    """`folder / name`, refused with `ModelError` if it leads out of the folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ModelError(f"{folder.name} refers to {name!r}, which is outside of the folder. {AGAIN}")
    return path


def parse_json(path: Path) -> Any:
    """Raises `ModelError` if the file is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except ValueError as error:
        raise ModelError(
            f"{path.name} is not valid JSON ({error}): cut off, or another file. {AGAIN}"
        ) from error


def read_json(path: Path, kind: type[Content]) -> Content:
    """The file's content, checked; what `kind` is by default if there is no file. Raises `ModelError`."""
    try:
        return kind.model_validate(parse_json(path)) if path.exists() else kind()
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"])) or "its content"
        raise ModelError(f"{path.name}: {field} is not understood: {first['msg']}. {AGAIN}") from error
