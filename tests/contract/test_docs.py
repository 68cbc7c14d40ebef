"""The pages lead where they say, name what is there, and their commands are commands."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
NAMED = re.compile(r"`((?:\.github|app|docs|k8s|monitoring|scripts|tests)/[\w./-]+)`")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


@cache
def prose(page: Path) -> str:
    """The page without its blocks of code."""
    return FENCE.sub("", page.read_text())


@cache
def anchors(page: Path) -> set[str]:
    """Those that GitHub gives to headings; of several with one name, all but the first are numbered."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        number = 0
        while (anchor := f"{slug}-{number}" if number else slug) in found:
            number += 1
        found.add(anchor)
    return found


def commands(page: Path) -> list[str]:
    """What a reader would paste: scripts, and the lines behind a prompt, with those that continue them."""
    found = []
    for indent, language, block in FENCE.findall(page.read_text()):
        text = re.sub(rf"^{indent}", "", block, flags=re.MULTILINE)
        if language == "sh":
            found.append(text)
        elif language == "console":
            found += re.findall(r"^\$ ((?:.*\\\n)*.*)$", text, re.MULTILINE)
    return found


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_its_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(re.sub(r"`[^`]*`", "", prose(page))):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_the_files_that_it_names_are_there(page: Path) -> None:
    for path in NAMED.findall(prose(page)):
        assert (ROOT / path).exists(), path


def test_every_target_of_make_that_is_named_is_there() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named_ones = {
        target
        for page in PAGES
        for target in re.findall(r"(?:\$ |`)make ([a-z][a-z0-9-]*)", page.read_text())
    }
    assert named_ones <= targets
    assert {"serve", "image", "kind-up"} <= named_ones


def test_its_shell_is_shell() -> None:
    scripts = {f"{named(page)}: {script}": script for page in PAGES for script in commands(page)}
    assert len(scripts) > 50
    for where, script in scripts.items():
        parsed = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
        assert not parsed.stderr, f"{where}\n{parsed.stderr}"


def test_every_page_can_be_found() -> None:
    """From the README, by links."""
    found: set[Path] = set()
    new = {ROOT / "README.md"}
    while new:
        found |= new
        links = {
            (page.parent / link.partition("#")[0]).resolve()
            for page in new
            for link in LINK.findall(prose(page))
        }
        new = {link for link in links if link.suffix == ".md" and link.exists()} - found
    assert found >= {page for page in PAGES if page.parent != ROOT}


def test_the_decisions_are_listed_by_their_titles() -> None:
    """In docs/architecture.md, each with its number."""
    section = (ROOT / "docs/architecture.md").read_text().split("## Decisions\n")[1].split("\n## ")[0]
    listed = re.findall(r"^(\d+)\. \[(.+)\]\((\S+)\)$", section, re.MULTILINE)
    records = sorted((ROOT / "docs/adr").glob("*.md"))
    assert [(f"# {number}. {title}", path) for number, title, path in listed] == [
        (record.read_text().partition("\n")[0], f"adr/{record.name}") for record in records
    ]
