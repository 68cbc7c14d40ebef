"""The manifest: a model folder's files and their sha256, so that a changed bit is found before it serves."""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from app.errors import ModelError
from app.models.folder import AGAIN, MANIFEST, files_of

_READ_SUFFIXES = {".json", ".safetensors", ".txt"}
"""Files that loading may read. Others (code, pickles, documents) are never opened, listed or not."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A file as it was when the manifest was written: sha256 in hex, size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the folder held when it was fetched or sealed."""

    source: str
    """The hub id, or for a local folder its own last part."""
    revision: str | None
    """The hub's commit, None for a local folder."""
    files: dict[str, FileRecord]
    """By path relative to the folder, with forward slashes."""

    @classmethod
    def of(cls, folder: Path, *, source: str, revision: str | None) -> Self:
        """Hash all files of the folder, hidden ones left out."""
        names = files_of(folder)
        with ThreadPoolExecutor(max_workers=4) as pool:
            records = pool.map(lambda name: _record(folder / name), names)
            return cls(source=source, revision=revision, files=dict(zip(names, records, strict=True)))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """The folder's manifest, None if it has none. Raises `ModelError` if it cannot be understood."""
        try:
            data = json.loads((folder / MANIFEST).read_bytes())
            files = {name: FileRecord(**record) for name, record in data["files"].items()}
            return cls(source=data["source"], revision=data["revision"], files=files)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(
                f"{MANIFEST} cannot be read ({error}). {AGAIN} If you trust the files as they are, "
                "delete it and run `python -m app model seal`."
            ) from error

    def write(self, folder: Path) -> None:
        """Put the manifest into the folder, whole or not at all."""
        partial = folder / f".{MANIFEST}.partial"
        partial.write_text(json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        partial.replace(folder / MANIFEST)

    def check(self, folder: Path) -> list[str]:
        """Compare the folder with the manifest, byte by byte; returns the extra files, that nothing reads.

        Raises `ModelError` that names the first file that is missing, changed, or not listed but readable.
        """
        present = set(files_of(folder))
        if missing := sorted(self.files.keys() - present):
            raise ModelError(f"{missing[0]} is missing, {MANIFEST} lists it. {self._remedy()}")
        extra = sorted(present - self.files.keys())
        for name in extra:
            if Path(name).suffix in _READ_SUFFIXES:
                raise ModelError(
                    f"{name} is not in {MANIFEST}, and loading might read it. Remove it; or, if it belongs "
                    "there, run `python -m app model seal` on the folder."
                )
        for name, record in self.files.items():
            if (size := (folder / name).stat().st_size) != record.size:
                raise ModelError(
                    f"{name} has {size} bytes, {MANIFEST} says {record.size}: the file has been changed or "
                    f"cut. {self._remedy()}"
                )
        found = type(self).of(folder, source=self.source, revision=self.revision).files
        for name, record in self.files.items():
            if found[name].sha256 != record.sha256:
                raise ModelError(
                    f"{name} has sha256 {found[name].sha256}, {MANIFEST} says {record.sha256}: the file has "
                    f"been changed or damaged. {self._remedy()}"
                )
        return extra

    def _remedy(self) -> str:
        again = "Copy the folder again" if self.revision is None else f"Fetch {self.source} again"
        return f"{again}; or, if the change is meant, run `python -m app model seal` on the folder."


def _record(path: Path) -> FileRecord:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(sha256=digest, size=file.tell())
