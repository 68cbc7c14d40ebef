"""The local stack on free ports, which knows nothing of the tester's own settings."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

from monitoring.slo import load_slo
from monitoring.stack.ports import Ports
from monitoring.stack.receiver import Notification
from monitoring.stack.stack import SERVICE, Stack

ROOT = Path(__file__).parents[2]
FAKE_SERVICE = (sys.executable, "-m", "tests.live.fake_server")


@contextmanager
def running_stack(
    folder: Path,
    window_scale: str,
    *,
    service: tuple[str, ...] = SERVICE,
    told: Callable[[Notification], None] = lambda _: None,
    settings: Mapping[str, str],
) -> Iterator[Stack]:
    """`told` is called on a thread for each notification; `settings` are the service's."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("APP_", "OTEL_"))
    }
    slo = load_slo(window_scale=Decimal(window_scale))
    with Stack(
        folder, Ports.free(), slo, service=service, environment={**environment, **settings}, told=told
    ) as stack:
        yield stack
