"""Adds to the Python packages' bill of materials what else is in the image. Prints CycloneDX, validated.

The argument is a folder with python.json (from cyclonedx-py), os-release, model.json (the model's manifest),
and packages: name, version and architecture of each of the distribution's, with tabs between.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL


def main(folder: Path) -> str:
    """The whole bill. Raises `ValueError` if it breaks CycloneDX's schema."""
    bom: Bom = Bom.from_json(json.loads((folder / "python.json").read_text()))  # type: ignore[attr-defined]
    bom.components.update(distribution_packages(folder))
    bom.components.add(model(folder))
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    if error := JsonStrictValidator(SchemaVersion.V1_6).validate_str(text):
        raise ValueError(f"not valid CycloneDX: {error}")
    return text


def distribution_packages(folder: Path) -> Iterator[Component]:
    """The distribution, and each package of it."""
    lines = (folder / "os-release").read_text().splitlines()
    release = {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}
    yield Component(
        type=ComponentType.OPERATING_SYSTEM,
        name=release["ID"],
        version=release["VERSION_ID"],
        description=release["PRETTY_NAME"],
    )
    distro = f"{release['ID']}-{release['VERSION_ID']}"
    for line in (folder / "packages").read_text().splitlines():
        name, version, architecture = line.split("\t")
        purl = PackageURL("deb", release["ID"], name, version, {"arch": architecture, "distro": distro})
        yield Component(name=name, version=version, purl=purl, bom_ref=str(purl))


def model(folder: Path) -> Component:
    """The model, with each of its files and their hashes."""
    manifest = json.loads((folder / "model.json").read_text())
    files = (
        Component(
            type=ComponentType.FILE,
            name=name,
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=record["sha256"])],
        )
        for name, record in manifest["files"].items()
    )
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=manifest["source"],
        version=manifest["revision"],
        components=files,
    )


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1])) + "\n")
