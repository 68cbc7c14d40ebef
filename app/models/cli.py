"""What `python -m app model` does. Each command returns the text to print, or raises `ModelError`."""

from pathlib import Path

from app.models.folder import MANIFEST, locate
from app.models.manifest import Manifest
from app.models.weights import check_structure
from app.models.weights import verify as verify_folder


def fetch(source: str, revision: str | None = None, folder: Path | None = None) -> str:
    """Download a model from the Hugging Face hub, by default to where `locate` looks for it."""
    from app.models import hub  # half a second to import, for this command only

    target = folder or locate(source)
    manifest = hub.fetch(source, revision, target)
    return f"{source} at {manifest.revision} is in {target}. Serve it with APP_MODEL={target}"


def verify(folder: Path) -> str:
    """Check that a model folder is whole and, if it has a manifest, unchanged."""
    found = verify_folder(folder)
    against = f"as {MANIFEST} says" if found.manifest else "by structure only"
    summary = f"{folder}: {found.files} files, {found.size:,} bytes, whole {against}"
    return "\n".join([summary, *(f"warning: {finding}" for finding in found.findings)])


def seal(folder: Path, source: str | None = None, revision: str | None = None) -> str:
    """Write the manifest of a folder that is already here, taking its files as they are now.

    `source` and `revision` say where the files come from; the source is by default the folder's own name.
    """
    check_structure(folder)
    Manifest.of(folder, source=source or folder.resolve().name, revision=revision).write(folder)
    return verify(folder)
