"""Programs: is each what its name says, and does it run here?"""

import os
import platform
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.doctor.scope import Scope
from app.doctor.walk import Broken, Ok, Result, Skipped

KNOWN = {
    "kubectl": ("version", "--client"),
    "kind": ("version",),
    "kustomize": ("version",),
    "podman": ("--version",),
    "docker": ("--version",),
    "prometheus": ("--version",),
    "promtool": ("--version",),
    "alertmanager": ("--version",),
    "prometheus-alertmanager": ("--version",),
    "amtool": ("--version",),
}
"""What is looked at where it is found, and what makes it tell its version."""
OLDEST = {"prometheus": (2, 42), "promtool": (2, 42)}
"""The rules use keep_firing_for."""
TIMEOUT = 5.0

_MACHINES = {62: "x86_64", 183: "aarch64"}
"""ELF's numbers for the processors that images are built for."""
_ARCHIVES = {b"\x1f\x8b": "a gzip archive", b"PK\x03\x04": "a zip archive", b"\xfd7zXZ": "an xz archive"}
_AGAIN = (
    "Delete it and download it again with `curl --fail --location`, from the address of the file itself; "
    "compare its sha256 with the published one."
)


@dataclass(frozen=True, slots=True)
class Program:
    """A file that is to be run."""

    name: str
    path: Path
    start: bytes
    """Its first bytes."""
    executable: bool


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of asking a program for its version."""

    code: int | None
    """Its exit code; None if it could not be run, or did not end in time."""
    said: str


def look(scope: Scope) -> Result:
    """Look at the known programs that are found, and at those that were asked for."""
    programs = []
    for name in scope.programs:
        found = shutil.which(name, mode=os.F_OK)
        if found is None:
            return Broken((f"{name} is not there",), f"Install {name}, or correct PATH.")
        programs.append(_open(name, found))
    asked = {program.name for program in programs}
    programs += [_open(name, path) for name in KNOWN if name not in asked and (path := shutil.which(name))]
    if not programs:
        return Skipped("none of the known programs is installed; --program names one that must be")
    for program in programs:
        if (finding := judge_file(program, platform.machine())) is not None:
            return finding
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(_ask, programs))
    for program, answer in zip(programs, answers, strict=True):
        if answer and (finding := judge_answer(program, answer)) is not None:
            return finding
    shown = zip(programs, answers, strict=True)
    return Ok((", ".join(" ".join([program.name, _version(answer)]).strip() for program, answer in shown),))


def judge_file(program: Program, machine: str) -> Broken | None:
    """The finding, if the file is no program for this machine."""
    start, path = program.start, program.path
    text = start.lstrip().lower()
    if text.startswith((b"<!doctype", b"<html")):
        return Broken((f"{path} is an HTML page, not a program",), _AGAIN)
    if text.startswith(b"version https://git-lfs"):
        return Broken((f"{path} is a git-lfs pointer, not a program",), "Run `git lfs pull`.")
    for magic, name in _ARCHIVES.items():
        if start.startswith(magic):
            return Broken((f"{path} is {name}, not a program",), "Unpack it, and install the program in it.")
    if start.startswith(b"\x7fELF"):
        order: Literal["big", "little"] = "big" if start[5:6] == b"\x02" else "little"
        built_for = _MACHINES.get(int.from_bytes(start[18:20], order))
        if built_for != machine and machine in _MACHINES.values():
            other = built_for or "another processor"
            return Broken((f"{path} is built for {other}, this machine is {machine}",), _AGAIN)
    elif start.startswith(b"#!"):
        interpreter = start[2:].split(b"\n")[0].split()[:1]
        if not interpreter or not Path(os.fsdecode(interpreter[0])).exists():
            missing = b" ".join(interpreter).decode(errors="replace")
            return Broken((f"{path} is a script for {missing or 'nothing'}, which is not there",), _AGAIN)
    else:
        shown = f"begins with {start[:16]!r}" if start else "is empty"
        return Broken((f"{path} is no program: it {shown}",), _AGAIN)
    if not program.executable:
        return Broken((f"{path} may not be run",), f"chmod +x {path}")
    return None


def judge_answer(program: Program, answer: Answer) -> Broken | None:
    """The finding, if the program does not tell its version, or is too old."""
    command = " ".join([str(program.path), *KNOWN[program.name]])
    if answer.code != 0:
        how = "does not end in time" if answer.code is None else f"ends with exit code {answer.code}"
        return Broken(
            (f"`{command}` {how}: {answer.said[:200]}".strip(" :"),), f"Install {program.name} again."
        )
    oldest = OLDEST.get(program.name)
    numbers = tuple(int(number) for number in re.findall(r"\d+", _version(answer))[:2])
    if oldest and numbers < oldest:
        needed = ".".join(map(str, oldest))
        return Broken(
            (f"{program.path} is {_version(answer) or 'of no known version'}, the rules need {needed}",),
            f"Install {program.name} {needed} or newer.",
        )
    return None


def _open(name: str, path: str) -> Program:
    try:
        with Path(path).open("rb") as file:
            start = file.read(4096)
    except OSError as error:
        start = f"({error.strerror})".encode()
    return Program(Path(name).name, Path(path), start, os.access(path, os.X_OK))


def _ask(program: Program) -> Answer | None:
    """None of a program that is not known: it may do anything when it is run."""
    if program.name not in KNOWN:
        return None
    command = [str(program.path), *KNOWN[program.name]]
    try:
        run = subprocess.run(  # noqa: S603 - the program that the user would run under this name
            command,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=TIMEOUT,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return Answer(None, "")
    except OSError as error:
        return Answer(126, error.strerror or "")
    # Old programs of Prometheus' tell it on stderr.
    return Answer(run.returncode, " ".join((run.stdout or run.stderr).split()))


def _version(answer: Answer | None) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?", answer.said) if answer else None
    return found[0] if found else ""
