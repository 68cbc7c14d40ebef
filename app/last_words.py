"""What a process that ends says, where the people who look for it will look."""

import os
import sys
from pathlib import Path

DEFAULT_PATH = "/dev/termination-log"
LIMIT = 4096
"""Bytes that Kubernetes keeps of a termination message."""


def say_last_words(words: str) -> None:
    """Print to stderr, and to the file that `kubectl describe pod` shows, if Kubernetes has put one there."""
    print(f"vitrine: {words}", file=sys.stderr, flush=True)  # noqa: T201 - the logs may not be set up
    path = Path(os.environ.get("APP_TERMINATION_LOG", DEFAULT_PATH))
    try:
        if path.exists():
            path.write_bytes(words.encode()[:LIMIT])
    except OSError as error:
        print(f"vitrine: cannot write to {path}: {error.strerror}", file=sys.stderr)  # noqa: T201 - as above
