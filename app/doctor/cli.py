"""From the options to the walk, and from the walk to what is printed."""

import argparse
import os
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from dotenv import dotenv_values

from app.doctor.address import reachable
from app.doctor.layers import LAYERS
from app.doctor.options import PROTOCOLS, USUAL
from app.doctor.report import Report, first_broken, line, verdict
from app.doctor.scope import Address, Collector, Scope
from app.doctor.service import identify
from app.doctor.walk import walk
from app.doctor.web import NoAnswerError
from app.errors import SettingsInvalid
from app.settings import PREFIX, Settings, read_settings


def run(options: argparse.Namespace) -> int:
    """Walk, print, and return 1 if a layer is broken, else 0."""
    layers = []
    for layer in walk(LAYERS, scope(options, os.environ)):
        layers.append(layer)
        if not options.json:
            print(line(layer), flush=True)
    print(Report.of(layers).model_dump_json(indent=2) if options.json else f"\n{verdict(layers)}")
    return 0 if first_broken(layers) is None else 1


def scope(options: argparse.Namespace, environment: Mapping[str, str]) -> Scope:
    """What to look at. A named address makes the usual ones uninteresting."""
    named = {name: url for name in USUAL if (url := getattr(options, f"{name}_url"))}
    usual = {} if named else dict(USUAL)
    settings = _settings(options, environment, usual)
    if isinstance(settings, Settings) and not named:
        usual["service"] = f"http://{reachable(settings.host)}:{settings.port}"
        usual["ops"] = f"http://{reachable(settings.ops_host)}:{settings.ops_port}"
    addresses = {
        name: Address(url, f"--{name}-url", asked=name in named) for name, url in (usual | named).items()
    }
    key = options.api_key_file
    if key is None and isinstance(settings, Settings) and settings.api_keys:
        key = settings.api_keys[0].get_secret_value()
    return Scope(
        settings=settings,
        container=options.container or runs_vitrine(_first_process()),
        programs=tuple(options.program),
        manifests=options.manifests,
        collector=_collector(options, environment),
        request=options.request,
        api_key=key,
        **{name: addresses.get(name) for name in USUAL},
    )


def _settings(
    options: argparse.Namespace, environment: Mapping[str, str], usual: Mapping[str, str]
) -> Settings | SettingsInvalid | None:
    """None where nothing is set and there is something else to look at: elsewhere, or running already."""
    given = {*environment, *dotenv_values(".env")}
    if not any(name.upper().startswith(PREFIX) for name in given) and (
        options.manifests or not usual or _answers(usual["service"])
    ):
        return None
    try:
        return read_settings()
    except SettingsInvalid as error:
        return error


def _answers(url: str) -> bool:
    try:
        identify(url)
    except NoAnswerError as error:
        return error.kind == "silent"
    return True


def _collector(options: argparse.Namespace, environment: Mapping[str, str]) -> Collector | None:
    """The one that was named, or where a service with this environment would send its spans."""

    def variable(name: str) -> str:
        return environment.get(f"OTEL_{name}", "").strip()

    protocol = (
        options.otlp_protocol
        or variable("EXPORTER_OTLP_TRACES_PROTOCOL")
        or variable("EXPORTER_OTLP_PROTOCOL")
        or PROTOCOLS[0]
    )
    off = variable("SDK_DISABLED").lower() == "true" or variable("TRACES_EXPORTER") not in {"", "otlp"}
    exact, base = variable("EXPORTER_OTLP_TRACES_ENDPOINT"), variable("EXPORTER_OTLP_ENDPOINT")
    if options.otlp_endpoint:
        exact, base = "", options.otlp_endpoint
    elif off or not (exact or base):
        return None
    path = "/v1/traces" if protocol == PROTOCOLS[0] else ""
    return Collector(exact or f"{base.rstrip('/')}{path}", protocol)


def runs_vitrine(command: bytes) -> bool:
    """Whether a process's command line, as /proc has it, is ours, be it behind an init.

    If that is process 1, this is a container of its own, and nobody who would call it is in here.
    """
    return (b"-m", b"app") in pairwise(command.split(b"\0"))


def _first_process() -> bytes:
    try:
        return Path("/proc/1/cmdline").read_bytes()
    except OSError:
        return b""
