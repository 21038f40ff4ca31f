"""torchrun in half a second: one rank for each machine of an attempt, numbered as torchrun would number its first."""

import argparse
import os
import signal
import subprocess
import sys

from worker.marks import mark_of


def main() -> int:
    """Start the rank of this machine and stay until it ends; its exit code, as of torchrun 1 for any but 0."""
    parser = argparse.ArgumentParser(prefix_chars="-")
    parser.add_argument("--nproc-per-node", type=int, required=True)
    options, rest = parser.parse_known_args(sys.argv[1 : sys.argv.index("-m")])
    del rest  # where ranks meet: these do not
    mark = mark_of(os.getpid())
    assert mark is not None
    rank = mark.part * options.nproc_per_node
    core = [sys.executable, *sys.argv[sys.argv.index("-m") :]]
    child = subprocess.Popen(core, env={**os.environ, "RANK": str(rank), "LOCAL_RANK": "0"})
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    return 1 if child.wait() else 0


if __name__ == "__main__":
    sys.exit(main())
