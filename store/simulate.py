"""`python -m store.simulate TRACE --nodes 4x8`: replay a trace by the scheduler's own policy and print what came of it.

Prints one JSON object. Exit codes: 0, or 2 with a sentence on what is wrong with the trace or the cluster.
"""

import argparse
import json
import sys
from pathlib import Path

from store.simulation import PASS_S, replay, report
from store.traces import COLUMNS, OPTIONAL, BadTrace, read_cluster, read_trace


def main(argv: list[str] | None = None) -> int:
    """Read, replay, print; returns the exit code."""
    parser = argparse.ArgumentParser(prog="store.simulate", description=__doc__)
    columns = f"CSV with {', '.join(COLUMNS)} and, if wanted, {', '.join(OPTIONAL)}"
    parser.add_argument("trace", type=Path, help=columns)
    parser.add_argument("--nodes", required=True, help="machines and the GPUs of each, as in 4x8,2x4")
    parser.add_argument("--pass-s", type=float, default=PASS_S, help="seconds whose events are looked at together")
    parser.add_argument("--no-preemption", action="store_true", help="nobody has to leave for a higher tier")
    options = parser.parse_args(argv)
    try:
        machines = read_cluster(options.nodes)
        asks = read_trace(options.trace)
    except BadTrace as error:
        sys.stderr.write(f"{error}\n")
        return 2
    found = replay(asks, machines, options.pass_s, preemption=not options.no_preemption)
    sys.stdout.write(json.dumps(report(found, machines)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
