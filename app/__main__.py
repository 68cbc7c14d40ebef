"""The command line: `python -m app serve`, `… doctor` and `… model fetch|verify|seal`."""

import argparse
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import NoReturn

from app.doctor.options import add_options
from app.errors import FatalError, VitrineError
from app.last_words import say_last_words
from app.models.cpu import share_cpus
from app.settings import read_settings, variables


def main(arguments: list[str]) -> int:
    """Run one command and return its exit code: its own, or that of a `app.errors.FatalError`."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options) or 0)
    except VitrineError as error:
        say_last_words(error.message)
        return error.exit_code if isinstance(error, FatalError) else FatalError.exit_code


def _serve(_options: argparse.Namespace) -> None:
    settings = read_settings()
    share_cpus()
    # Imported after the settings: whatever is wrong with them is told at once.
    import uvloop

    from app.banner import banner
    from app.main import create_app
    from app.server import serve
    from app.telemetry.logs import configure_logs

    configure_logs(settings.log_level, settings.log_format)
    app = create_app(settings)
    for_people = settings.log_format == "console" or (settings.log_format == "auto" and sys.stdout.isatty())

    def announce(api: str, ops: str) -> None:
        logging.getLogger("app.server").info("listening", extra={"api": api, "operations": ops})
        if for_people:
            print(banner(app.runner.info, api, ops), flush=True)

    if for_people:
        print(f"Loading the model from {settings.model} …", flush=True)
    # A worker asks for the interpreter after each of a batch's hundreds of operations. By default, a busy
    # event loop may keep it for 5 ms each time.
    sys.setswitchinterval(0.0002)
    uvloop.run(serve(app, announce))


def _doctor(options: argparse.Namespace) -> int:
    from app.doctor import cli
    from app.telemetry.logs import configure_logs

    configure_logs("error", "console", sys.stderr)  # stdout has the report
    return cli.run(options)


def _fetch(options: argparse.Namespace) -> None:
    from app.models.cli import fetch

    print(fetch(options.id, options.revision, options.folder))


def _verify(options: argparse.Namespace) -> None:
    from app.models.cli import verify

    print(verify(options.folder))


def _seal(options: argparse.Namespace) -> None:
    from app.models.cli import seal

    print(seal(options.folder, options.source, options.revision))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m app", description="Vitrine: an inference server behind glass."
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = commands.add_parser(
        "serve",
        help="serve a model",
        description="Serve a model. Settings come from the environment and from .env:",
        epilog="\n".join(_settings_help()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serve.set_defaults(run=_serve)

    doctor = commands.add_parser(
        "doctor",
        help="name the first layer that is broken, here and on the way to the service",
        description="Walk the layers that can be seen from here and name the first that is broken, with its "
        "evidence and remedy. Without any URL, the usual addresses on loopback are tried. Exits with 0 if "
        "nothing is broken, 1 if something is, 2 on wrong use.",
    )
    add_options(doctor)
    doctor.set_defaults(run=_doctor)

    model = commands.add_parser("model", help="fetch and verify models")
    actions = model.add_subparsers(required=True, metavar="action")
    fetch = actions.add_parser("fetch", help="download a model from the hub, and seal it")
    fetch.add_argument("id", help="the hub's id, such as sentence-transformers/all-MiniLM-L6-v2")
    fetch.add_argument("--revision", help="a commit, branch or tag; the manifest keeps the commit")
    fetch.add_argument("--folder", type=Path, help="where to put it (default models/<org>--<name>)")
    fetch.set_defaults(run=_fetch)
    verify = actions.add_parser("verify", help="compare a model's files with its manifest")
    verify.add_argument("folder", type=Path)
    verify.set_defaults(run=_verify)
    seal = actions.add_parser("seal", help="write the manifest of a folder whose files are known to be good")
    seal.add_argument("folder", type=Path)
    seal.add_argument("--source", help="where the files come from, such as a hub id")
    seal.add_argument("--revision", help="the commit they are of")
    seal.set_defaults(run=_seal)
    return parser


def _settings_help() -> Iterator[str]:
    for name, field in variables():
        if field.is_required():
            default = "required"
        else:
            value = field.get_default(call_default_factory=True)
            default = "not set" if value in (None, ()) else f"default {value}"
        yield f"  {name} ({default})"
        yield textwrap.indent(textwrap.fill(field.description or "", 90), "      ")


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    """What a signal does until the server drains on it: there is nothing yet to lose."""
    os._exit(128 + number)


def run_to_exit(arguments: list[str]) -> NoReturn:
    """Run one command and end the process, whatever its threads are doing."""
    # As the first process of a container, one that has no handler yet would not even notice.
    signal.signal(signal.SIGTERM, _end)
    code = main(arguments)
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: it would wait for a thread that loads for minutes or hangs for ever.
    os._exit(code)


if __name__ == "__main__":
    run_to_exit(sys.argv[1:])
