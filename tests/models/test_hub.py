import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from app.errors import ModelError
from app.models.folder import MANIFEST, locate
from app.models.hub import fetch
from app.models.manifest import Manifest
from app.models.weights import verify
from tests.models.conftest import Make
from tests.models.hub_server import COMMIT, REPOSITORY, FakeHub, fake_hub

WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def _loopback_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A mistake in these tests must not reach the real hub, nor the developer's cache and token."""
    resolve = socket.getaddrinfo

    def resolve_loopback(host: str, *args: Any, **options: Any) -> Any:
        if host != "127.0.0.1":
            raise SystemExit(f"a test wants to reach {host}")
        return resolve(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", resolve_loopback)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    # Else the client asks the real hub for its list of user agents
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_TELEMETRY", True)


@pytest.fixture
def hub(made: Make, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    with fake_hub(made("embedder")) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "models" / "name"


def left_over(folder: Path) -> list[str]:
    return [path.name for path in folder.parent.iterdir()] if folder.parent.exists() else []


@pytest.mark.parametrize("revision", [None, "main", "v1", COMMIT])
def test_a_model_arrives_with_the_commit_that_its_revision_stands_for(
    hub: FakeHub, folder: Path, revision: str | None
) -> None:
    fetch(REPOSITORY, revision, folder)
    manifest = verify(folder).manifest
    assert manifest is not None
    assert (manifest.source, manifest.revision) == (REPOSITORY, COMMIT)
    assert manifest.files.keys() == hub.files.keys()
    assert (folder / WEIGHTS).read_bytes() == hub.files[WEIGHTS]
    assert left_over(folder) == ["name"]
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_only_what_serving_reads_is_downloaded(hub: FakeHub, folder: Path) -> None:
    others = ("modeling.py", "pytorch_model.bin", "README.md", "onnx/model.json", "openvino/config.json")
    for name in others:
        hub.files[name] = b"{}"
    fetch(REPOSITORY, COMMIT, folder)
    assert {name for name, _ in hub.downloads}.isdisjoint(others)


def test_fetching_twice_downloads_once_and_needs_no_network_for_a_commit(hub: FakeHub, folder: Path) -> None:
    first = fetch(REPOSITORY, "main", folder)
    downloads = len(hub.downloads)
    assert fetch(REPOSITORY, "main", folder) == first
    assert len(hub.downloads) == downloads
    hub.files.clear()
    assert fetch(REPOSITORY, COMMIT, folder) == first


def test_what_is_there_is_verified_before_it_is_said_to_be(hub: FakeHub, folder: Path) -> None:
    fetch(REPOSITORY, COMMIT, folder)
    (folder / "config.json").write_text("{}")
    with pytest.raises(ModelError, match=r"config\.json has 2 bytes"):
        fetch(REPOSITORY, COMMIT, folder)


def test_another_folder_is_never_overwritten(hub: FakeHub, folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("mine")
    with pytest.raises(ModelError, match="exists, and is not org/name at"):
        fetch(REPOSITORY, "main", folder)
    assert (folder / "mine.txt").read_text() == "mine"


def test_an_empty_folder_is_filled(hub: FakeHub, folder: Path) -> None:
    folder.mkdir(parents=True)
    fetch(REPOSITORY, "main", folder)
    verify(folder)


def test_a_folder_that_cannot_be_made_is_named(hub: FakeHub, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ModelError, match=r"org/name cannot be fetched.*File exists"):
        fetch(REPOSITORY, "main", tmp_path / "file" / "name")


def test_a_cut_transfer_is_resumed(hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.cut_after[WEIGHTS] = 50_000
    hub.cuts = 1
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
    fetch(REPOSITORY, COMMIT, folder)
    assert (WEIGHTS, "bytes=50000-") in hub.downloads
    verify(folder)


def test_a_transfer_that_never_completes_leaves_no_model(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cut_after[WEIGHTS] = 0
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(ModelError, match="org/name cannot be fetched"):
        fetch(REPOSITORY, COMMIT, folder)
    assert not folder.exists()


def test_a_later_run_keeps_what_an_interrupted_one_got(
    hub: FakeHub, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.cut_after[WEIGHTS] = 0
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with pytest.raises(ModelError):
        fetch(REPOSITORY, COMMIT, folder)
    hub.cut_after.clear()
    hub.downloads.clear()
    fetch(REPOSITORY, COMMIT, folder)
    assert {name for name, _ in hub.downloads} == {WEIGHTS}
    assert left_over(folder) == ["name"]


def html(size: int) -> bytes:
    page = b"<!DOCTYPE html><html><title>Captive portal</title>"
    return page + b" " * (size - len(page))


def test_a_web_page_in_a_files_place_is_refused_and_fetched_anew(hub: FakeHub, folder: Path) -> None:
    # Of the right length, else the client would notice it itself
    hub.instead[WEIGHTS] = html(len(hub.files[WEIGHTS]))
    with pytest.raises(ModelError, match=r"model\.safetensors is an HTML page"):
        fetch(REPOSITORY, COMMIT, folder)
    assert left_over(folder) == []
    hub.instead.clear()
    fetch(REPOSITORY, COMMIT, folder)


def test_a_web_page_of_another_length_is_refused_too(hub: FakeHub, folder: Path) -> None:
    hub.instead[WEIGHTS] = html(100)
    with pytest.raises(ModelError, match=r"org/name cannot be fetched.*should be of size"):
        fetch(REPOSITORY, COMMIT, folder)
    assert not folder.exists()


def test_a_flipped_bit_on_the_way_is_found_by_the_hubs_sha256(hub: FakeHub, folder: Path) -> None:
    content = bytearray(hub.files[WEIGHTS])
    content[-100] ^= 1
    hub.instead[WEIGHTS] = bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors arrived with sha256 .*, the hub says"):
        fetch(REPOSITORY, COMMIT, folder)
    assert left_over(folder) == []


def test_a_repository_of_pickles_is_refused_before_the_download(hub: FakeHub, folder: Path) -> None:
    hub.files["pytorch_model.bin"] = hub.files.pop(WEIGHTS)
    with pytest.raises(ModelError, match=r"publishes no safetensors .*from_pretrained"):
        fetch(REPOSITORY, COMMIT, folder)
    assert hub.downloads == []


@pytest.mark.parametrize("source", ["org/unknown", "not a name"])
def test_an_unknown_repository_is_named(hub: FakeHub, folder: Path, source: str) -> None:
    with pytest.raises(ModelError, match=f"{source} cannot be fetched. Check the name.*"):
        fetch(source, None, folder)


def test_no_hub_at_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(ModelError, match=r"org/name cannot be fetched.*the network.*Connect"):
        fetch(REPOSITORY, None, folder)


def test_the_command_takes_its_hub_from_the_environment(hub: FakeHub, tmp_path: Path) -> None:
    code = f"from app.models.cli import fetch; print(fetch({REPOSITORY!r}))"
    environment = {
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "PYTHONPATH": str(Path.cwd()),
    }
    said = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert f"APP_MODEL={locate(REPOSITORY)}" in said
    assert Manifest.read(tmp_path / "models/org--name") is not None
    assert (tmp_path / "models/org--name" / MANIFEST).is_file()
