"""`make bench`: each row is ours against a plain reference, in turn, in this run; exit 1 when a gate is missed."""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import torch

from benchmarks import clips, evaluation, step
from benchmarks.rounds import Comparison

RESULTS = Path(__file__).parent / "results"

# What a ratio's lower bound must reach. A claim is made only by a gate.
GATES = {
    "encoder, forward and backward": 1.1,
    "momentum update": 1.5,
    "windows of packed clips": 2.0,
    "retrieval": 0.67,
    "linear probe": 0.2,
}
SUITE: tuple[Callable[[int], Comparison], ...] = (
    step.encoder,
    step.momentum,
    clips.windows,
    evaluation.retrieval,
    evaluation.probe,
)


def main() -> int:
    """Run the suite, print a table, write the record."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under five minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = []
    print(f"{'':34}{'ours':>10}{'plain':>10}  {'unit':12}{'ratio':>7}  95 % interval   gate")
    for benchmark in SUITE:
        found.append(benchmark(7 if options.quick else 15))
        print(line(found[-1]))
    record(found)
    missed = [row.name for row in found if row.low < GATES[row.name]]
    for name in missed:
        print(f"missed: {name} has a lower bound below {GATES[name]}", file=sys.stderr)
    return 1 if missed else 0


def line(row: Comparison) -> str:
    """A row of the table."""
    interval = f"{row.low:.2f} to {row.high:.2f}"
    rates = f"{row.ours:>10.4g}{row.plain:>10.4g}  {row.unit:12}"
    return f"{row.name:34}{rates}{row.ratio:>7.2f}  {interval:15} {GATES[row.name]}"


def record(found: list[Comparison]) -> None:
    """Append the run to this machine's record, a JSON line."""
    RESULTS.mkdir(exist_ok=True)
    machine = {"processor": _processor(), "python": platform.python_version(), "torch": torch.__version__}
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **machine, "rows": [asdict(row) for row in found]}
    with (RESULTS / "cpu.jsonl").open("a") as file:
        file.write(json.dumps(entry) + "\n")


def _processor() -> str:
    def models() -> Iterator[str]:
        for text in Path("/proc/cpuinfo").read_text().splitlines():
            if text.startswith("model name"):
                yield text.split(":")[1].strip()

    return next(models(), platform.processor()) if Path("/proc/cpuinfo").exists() else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
