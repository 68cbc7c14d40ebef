"""Where each part of the stack listens."""

import socket
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from typing import Self

from monitoring.stack.child import StackError


@dataclass(frozen=True, slots=True)
class Ports:
    """All on loopback; the defaults are those of `prometheus.local.yml` and `alertmanager.local.yml`."""

    api: int = 8000
    ops: int = 9000
    prometheus: int = 9090
    alertmanager: int = 9093
    receiver: int = 9094

    @classmethod
    def free(cls) -> Self:
        """Ports that nobody has right now."""
        with ExitStack() as probes:
            sockets = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in fields(cls)]
            return cls(*(probe.getsockname()[1] for probe in sockets))

    def check(self) -> None:
        """Raises `StackError` for the first that is taken."""
        for name, port in asdict(self).items():
            try:
                socket.create_server(("127.0.0.1", port)).close()
            except OSError as error:
                raise StackError(
                    f"Port {port} ({name}) is taken: end what listens there, or choose another by "
                    f"--{name}-port."
                ) from error
