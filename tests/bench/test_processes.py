"""CPU time and memory of a server are those of its whole tree, orphans and the dead too."""

import os
import subprocess
import sys
import time

from tests.bench.processes import cpu_seconds, descendants, end, peak_bytes, resident_bytes

MIB = 2**20
CHILD = """
import os, subprocess, sys, time
held = bytearray(60 * 2**20)
held[::4096] = b"x" * len(held[::4096])
del held  # a peak that is over
kept = b"y" * (20 * 2**20)
stop = time.process_time() + 0.3
while time.process_time() < stop: pass
print("ready", flush=True)
time.sleep(60)
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", "import time\\nwhile time.process_time() < 0.2: pass"])
subprocess.run([sys.executable, "-c", {CHILD!r}])
"""


def test_the_whole_tree_counts() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        assert parent.stdout.readline() == "ready\n"
        tree = descendants(os.getpid()) & ({parent.pid} | descendants(parent.pid))
        try:
            assert len(tree) == 2
            # The second child's, and the first's, which has ended
            assert 0.4 <= cpu_seconds(tree) < 2
            assert resident_bytes(tree) + 30 * MIB < peak_bytes(tree) < resident_bytes(tree) + 50 * MIB
        finally:
            began = time.monotonic()
            end(tree, patience=5)
        assert time.monotonic() - began < 5
        assert not descendants(parent.pid)
