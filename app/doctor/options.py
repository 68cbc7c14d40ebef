"""The doctor's options."""

import argparse
import sys
from pathlib import Path
from urllib.parse import urlsplit

from app.doctor.scope import Manifests

USUAL = {
    "service": "http://127.0.0.1:8000",
    "ops": "http://127.0.0.1:9000",
    "prometheus": "http://127.0.0.1:9090",
    "alertmanager": "http://127.0.0.1:9093",
}
"""Where `make stack` and port-forwards put them."""
PROTOCOLS = ("http/protobuf", "grpc")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Everything that can be asked of the doctor."""
    for name, usual in USUAL.items():
        parser.add_argument(f"--{name}-url", type=_url, metavar="URL", help=f"usually {usual}")
    parser.add_argument("--otlp-endpoint", type=_url, metavar="URL", help="the collector, without /v1/traces")
    parser.add_argument("--otlp-protocol", choices=PROTOCOLS, help="how to speak to it")
    parser.add_argument("--manifests", type=_manifests, metavar="FILE", help="rendered YAML; - reads stdin")
    parser.add_argument("--program", action="append", default=[], help="must be there; may be repeated")
    parser.add_argument("--request", action="store_true", help="send a real request, and follow its spans")
    parser.add_argument("--api-key-file", type=_text, metavar="FILE", help="holds the key for that request")
    parser.add_argument("--container", action="store_true", help="judge the addresses as a container's")
    parser.add_argument("--json", action="store_true", help="print a report for programs")


def _url(text: str) -> str:
    parts = urlsplit(text)
    try:
        parts.port  # noqa: B018 - it is looked at only when asked for
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: the port is no number from 0 to 65535") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise argparse.ArgumentTypeError(f"{text!r} is no URL like http://127.0.0.1:8000")
    return text.rstrip("/")


def _text(name: str) -> str:
    try:
        return Path(name).read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {name}: {error}") from None


def _manifests(name: str) -> Manifests:
    try:
        content = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {name}: {error.strerror}") from None
    return Manifests("stdin" if name == "-" else name, content.decode(errors="replace"))
