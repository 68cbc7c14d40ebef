"""`make stack`: the service, Prometheus and Alertmanager on loopback, until Ctrl-C.

The rules are those of the cluster. What Alertmanager notifies is printed. Data and logs are in a temporary
folder, which is removed at the end.
"""

import argparse
import signal
import sys
import tempfile
import time
from dataclasses import fields
from decimal import Decimal
from pathlib import Path

from monitoring.slo import InvalidSlo, load_slo
from monitoring.stack.child import StackError
from monitoring.stack.ports import Ports
from monitoring.stack.receiver import Notification
from monitoring.stack.stack import Stack


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m monitoring.stack",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    for field in fields(Ports):
        parser.add_argument(f"--{field.name}-port", type=int, default=field.default, help="on loopback")
    parser.add_argument(
        "--window-scale",
        type=Decimal,
        help="shrink windows and intervals, from 1 to 0.01, at which an hour is 36 s",
    )
    options = vars(parser.parse_args())
    ports = Ports(*(options[f"{field.name}_port"] for field in fields(Ports)))
    try:
        slo = load_slo(window_scale=options["window_scale"])
    except InvalidSlo as error:
        sys.exit(str(error))
    with tempfile.TemporaryDirectory(prefix="vitrine-stack-") as folder:
        stack = Stack(Path(folder), ports, slo, told=_tell)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: stack.stopping.set())
        try:
            print("Starting: the model loads", flush=True)
            with stack:
                _introduce(stack, folder)
                stack.watch()
                print("Stopping", flush=True)
        except StackError as error:
            sys.exit(str(error))


def _introduce(stack: Stack, folder: str) -> None:
    print(f"API           {stack.api_url}/docs")
    print(f"Console       {stack.ops_url}/")
    print(f"Metrics       {stack.ops_url}/metrics")
    print(f"Prometheus    {stack.prometheus_url}/alerts")
    print(f"Alertmanager  {stack.alertmanager_url}/")
    print(f"Logs          {folder}")
    print("Ctrl-C ends all. Alerts that are notified:", flush=True)


def _tell(notification: Notification) -> None:
    if notification.receiver != "heartbeat":
        print(f"{time.strftime('%H:%M:%S')} {notification}", flush=True)


if __name__ == "__main__":
    main()
