"""Fetching a model from the Hugging Face hub, at one commit, whole or not at all."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.hf_api import RepoSibling

from app.errors import ModelError
from app.models.manifest import Manifest
from app.models.weights import CONVERT, verify

_WANTED = (".safetensors", ".json", ".txt")
_OTHER_RUNTIMES = ("onnx/", "openvino/")


def fetch(source: str, revision: str | None, folder: Path) -> Manifest:
    """Download `source` into `folder`, check it against the hub's sizes and hashes, and write the manifest.

    `revision` is a commit, branch or tag, None for the main branch; the manifest holds the commit that it
    stands for. A folder that holds that commit already is verified and kept, one with other files refused.
    After an interruption, what has arrived is kept for the next try. Endpoint and token are huggingface_hub's
    own settings, HF_ENDPOINT and HF_TOKEN. Raises `ModelError`.
    """
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT") or None)
    present = Manifest.read(folder)
    if present and (present.source, present.revision) == (source, revision):
        verify(folder)
        return present
    with _hub_errors(source):
        info = hub.model_info(source, revision=revision, files_metadata=True)
    commit = str(info.sha)
    if present and (present.source, present.revision) == (source, commit):
        verify(folder)
        return present
    if folder.exists() and not _is_empty(folder):
        raise ModelError(
            f"{folder} exists, and is not {source} at {commit}: remove it, or name another folder."
        )
    published = {file.rfilename: file for file in info.siblings or [] if _is_wanted(file.rfilename)}
    if not any(name.endswith(".safetensors") for name in published):
        raise ModelError(f"{source} publishes no safetensors at {commit}. {CONVERT}")
    partial = folder.with_name(f".{folder.name}.{commit}.partial")
    with _hub_errors(source):
        folder.parent.mkdir(parents=True, exist_ok=True)
        hub.snapshot_download(source, revision=commit, local_dir=partial, allow_patterns=list(published))
    manifest = _inspect(partial, source, commit, published)
    manifest.write(partial)
    try:
        partial.rename(folder)
    except OSError as error:
        raise ModelError(
            f"{folder} cannot be put in place: {error.strerror}. If it is a mount point, name a folder in it."
        ) from error
    return manifest


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _is_wanted(name: str) -> bool:
    return name.endswith(_WANTED) and not name.startswith(_OTHER_RUNTIMES)


def _inspect(folder: Path, source: str, commit: str, published: Mapping[str, RepoSibling]) -> Manifest:
    """The manifest of what has arrived. What is not as published is removed, so that it is fetched anew."""
    shutil.rmtree(folder / ".cache", ignore_errors=True)  # the client's own notes
    try:
        verify(folder)
        manifest = Manifest.of(folder, source=source, revision=commit)
        for name, file in published.items():
            got = manifest.files.get(name)
            if got is None or got.size != file.size:
                size = "no" if got is None else got.size
                raise ModelError(f"{name} arrived with {size} bytes, the hub says {file.size}. Try again.")
            if file.lfs and got.sha256 != file.lfs.sha256:
                raise ModelError(
                    f"{name} arrived with sha256 {got.sha256}, the hub says {file.lfs.sha256}. Try again."
                )
    except ModelError:
        shutil.rmtree(folder)
        raise
    return manifest


@contextmanager
def _hub_errors(source: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # of the client, its HTTP library or the disk: there is no model then
        reason = " ".join(
            f"{type(error).__name__}: {error}".split()
        )  # the client's messages have several lines
        raise ModelError(
            f"{source} cannot be fetched. Check the name, the revision and the network; a private or gated "
            f"model wants HF_TOKEN, a mirror HF_ENDPOINT. {reason}"
        ) from error
