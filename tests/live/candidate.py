"""A Python that says it is a release candidate, as that of Ubuntu 22.04 is."""

from pathlib import Path

PROGRAM = """#!/usr/bin/env python3
import sys
from collections import namedtuple

if sys.argv[1] == "--version":
    print("Python 3.11.0rc1")
else:
    Version = namedtuple("Version", "major minor micro releaselevel serial")
    sys.version_info = Version(3, 11, 0, "candidate", 1)
    exec(sys.argv[2])
"""


def release_candidate(folder: Path) -> Path:
    """The program, in that folder."""
    path = folder / "python3.11rc"
    path.write_text(PROGRAM)
    path.chmod(0o755)
    return path
