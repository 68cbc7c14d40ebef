"""The addresses to listen on: can they be bound, and would callers reach them?"""

import errno
import ipaddress
import socket
from dataclasses import dataclass

from app.doctor.scope import NO_SETTINGS, Scope
from app.doctor.service import identify
from app.doctor.walk import Broken, Ok, Result
from app.doctor.web import NoAnswerError
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Port:
    """One of the two, and what came of binding it."""

    host_name: str
    """The variable of its host."""
    port_name: str
    host: str
    port: int
    error: int | None = None
    """The errno of the attempt; None if the port is free."""
    taken_by_us: bool = False
    """Whether it is a Vitrine that has it, or something too silent to be known for something else."""
    taken_by: str = ""
    """What the one who has it says."""


def look(scope: Scope) -> Result:
    """Try to bind both; nothing is left bound."""
    settings = scope.settings
    if not isinstance(settings, Settings):
        return NO_SETTINGS
    ports = [
        _try("APP_HOST", "APP_PORT", settings.host, settings.port),
        _try("APP_OPS_HOST", "APP_OPS_PORT", settings.ops_host, settings.ops_port),
    ]
    return judge(ports, in_container=scope.container)


def judge(ports: list[Port], *, in_container: bool) -> Result:
    """What the attempts mean."""
    api, ops = ports
    if api.port == ops.port != 0:
        return Broken(
            (f"APP_PORT and APP_OPS_PORT are both {api.port}",), "Give each a port of its own: 8000 and 9000."
        )
    if in_container and (inner := [port for port in ports if is_loopback(port.host)]):
        return Broken(
            tuple(f"{port.host_name}={port.host} in a container, where no caller is" for port in inner),
            " ".join(f"Set {port.host_name}=0.0.0.0." for port in inner)
            + " That `kubectl port-forward` reaches it proves nothing: it enters by the loopback.",
        )
    for port in ports:
        if port.error is not None and not port.taken_by_us:
            return _unbindable(port)
    return Ok(
        tuple(
            f"{port.host}:{port.port} {'has its service' if port.taken_by_us else 'is free'}"
            for port in ports
        )
    )


def is_loopback(host: str) -> bool:
    """Whether only this machine, or this container, can connect to it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def reachable(host: str) -> str:
    """The host to connect to for one that is listened on, in a URL's form."""
    host = {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]" if ":" in host else host


def _try(host_name: str, port_name: str, host: str, number: int) -> Port:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, number), family=family).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return Port(host_name, port_name, host, number, error.errno or errno.EINVAL, False, str(error))
        ours, words = _holder(f"http://{reachable(host)}:{number}")
        return Port(host_name, port_name, host, number, error.errno, ours, words)
    return Port(host_name, port_name, host, number)


def _holder(url: str) -> tuple[bool, str]:
    try:
        identify(url)
    except NoAnswerError as error:
        # A service that hangs is not the port's fault.
        return error.kind == "silent", str(error)
    return True, "Vitrine"


def _unbindable(port: Port) -> Broken:
    place = f"{port.host_name}, {port.port_name}: cannot listen on {port.host}:{port.port}"
    match port.error:
        case errno.EADDRINUSE:
            return Broken(
                (f"{place}, which something else has", port.taken_by),
                f"End it (`ss -ltnp 'sport = :{port.port}'` names it), or give {port.port_name} another.",
            )
        case errno.EACCES:
            return Broken((f"{place}, which only root may",), f"Set {port.port_name} to 1024 or more.")
        case _:
            return Broken(
                (f"{place}: {port.taken_by}",),
                f"Set {port.host_name} to an address of this machine, or to 0.0.0.0 for all of them.",
            )
