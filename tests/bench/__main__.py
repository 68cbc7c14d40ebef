"""`python -m tests.bench`: compare Vitrine with its peers. See --help."""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

from tests.bench.compare import Comparison, Plan, compare_closed, compare_open, names
from tests.bench.contenders import CONTENDERS
from tests.bench.machine import busy
from tests.bench.processes import adopt_orphans
from tests.bench.report import write_report

STRONGEST = ("vllm", "infinity-onnx", "mosec", "fastapi-2-processes", "fastapi-sync")
CORES = 2
PEERS = {"closed": "all", "open": "strongest", "report": "none"}
"""The parts, and which peers they have by default."""


def arguments() -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description="Compare Vitrine with its peers on the same model, texts and cores.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", default=list(PEERS), help="of: " + ", ".join(PEERS)
    )
    parser.add_argument(
        "--peers",
        help=f"comma-separated, of: {', '.join(c.name for c in CONTENDERS[1:])}; or all, strongest, none. "
        "By default all in closed loops, and the strongest in open ones, which take longer",
    )
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10, help="of each run of load")
    parser.add_argument("--warm-up", type=float, default=4, help="seconds of load after a start")
    parser.add_argument("--clients", default="1,8,32,64", help="of the closed loops")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--model", type=Path, default=Path("models/all-MiniLM-L6-v2"))
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PEERS):
        parser.error(f"there is no part {', '.join(unknown)}")
    return given


def chosen(peers: str) -> tuple[str, ...]:
    """Vitrine and the peers that are meant. Raises ValueError for one that is not known."""
    sets = {"all": [c.name for c in CONTENDERS[1:]], "strongest": STRONGEST, "none": []}
    return names(["vitrine", *sets.get(peers, peers.split(","))])


def main() -> None:
    """Run the parts in the order given."""
    given = arguments()
    # Servers, load and ceiling all inherit these cores.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    adopt_orphans()
    # A SIGTERM ends the servers too
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    shared = busy()
    if shared > 0.1:
        print(f"The machine is {shared:.0%} busy with other work: these figures will not hold.", flush=True)
    command = f"make bench ARGS='{shlex.join(sys.argv[1:])}'" if sys.argv[1:] else "make bench"
    for part in given.parts:
        if part == "report":
            write_report()
            continue
        plan = Plan(
            contenders=chosen(given.peers or PEERS[part]),
            dtype=given.dtype,
            rounds=given.rounds,
            seconds=given.seconds,
            clients=tuple(map(int, given.clients.split(","))),
            texts=given.texts,
            warm_up=given.warm_up,
        )
        compare = {"closed": compare_closed, "open": compare_open}[part]
        comparison = Comparison(part, plan, given.model, command)
        comparison.results.machine["busy before"] = f"{shared:.0%}"
        compare(comparison).write()


if __name__ == "__main__":
    main()
