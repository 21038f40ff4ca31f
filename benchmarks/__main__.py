"""`make bench`: ours against plain references, in turn, in this run; then the full service against limits.

Without QUICK also against others' software where `make peers` has installed it, and what the service adds to a
training. ONLY measures the parts that it names. Exit 1 when a gate or a limit is missed.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from benchmarks import checkpoints, clips, evaluation, loop, memory, peers, service, start_up, step, supply, transport
from benchmarks.peers import neighbours, ray_jobs, sound_by_ffmpeg, torchcodec, tracking
from benchmarks.rounds import Comparison, Growth, Limit, StepTime

RESULTS = Path(__file__).parent / "results"

# What a ratio's lower bound must reach. A claim is made only by a gate.
GATES = {
    "encoder, forward and backward": 1.5,
    "same, bf16 over plain fp32": 2.5,
    "features, forward": 1.3,
    "features, bf16 over plain fp32": 2.2,
    "CMAC's step": 1.5,
    "momentum update": 1.5,
    "trainer over a bare loop": 0.98,
    "memory of a step, plain over ours": 1.33,
    "checkpoint, while a step waits": 3.33,
    "windows of packed clips": 3.0,
    "sound of packed clips": 1.5,
    "clips from a worker": 3.0,
    "retrieval": 0.67,
    "linear probe": 0.2,
    "windows, GDT's way": 10.0,
    "sound, GDT's way": 20.0,
    "windows, torchcodec": 3.0,
    "windows, torchcodec on packed clips": 0.9,
    "retrieval, faiss": 0.67,
    "run creation, MLflow": 5.0,
    "one run read, MLflow": 5.0,
    "100 of 1,000 runs listed, MLflow": 5.0,
    "a curve of 1,000 points, MLflow": 5.0,
    "100 runs that differ in a seed, MLflow": 5.0,
    "job start, Ray": 1.0,
}


def each(*benchmarks: Callable[[int], Comparison]) -> Callable[[int], Iterator[Comparison]]:
    """One after the other."""
    return lambda rounds: (benchmark(rounds) for benchmark in benchmarks)


class Part(NamedTuple):
    """What is compared together, by the name that `--only` knows, and in which runs."""

    name: str
    runs: Literal["all", "whole", "with peers"]
    measure: Callable[[int], Iterator[Comparison]]


COMPARED = (
    Part("step", "all", each(step.encoder, step.encoder_bf16, step.features, step.features_bf16, step.whole)),
    Part("momentum", "all", each(step.momentum)),
    Part("loop", "all", each(loop.trainer)),
    Part("checkpoints", "all", each(checkpoints.blocked)),
    Part("clips", "all", each(clips.windows)),
    Part("evaluation", "all", each(evaluation.retrieval, evaluation.probe)),
    Part("sounds", "whole", each(clips.sounds)),
    Part("transport", "whole", each(transport.transport)),
    Part("memory", "whole", each(memory.peak)),
    Part("ffmpeg", "with peers", each(sound_by_ffmpeg.windows, sound_by_ffmpeg.sounds)),
    Part("faiss", "with peers", each(neighbours.retrieval)),
    Part("torchcodec", "with peers", torchcodec.windows),
    Part("mlflow", "with peers", tracking.measure),
    Part("ray", "with peers", lambda rounds: each(ray_jobs.start)(rounds // 3)),
)
LIMITED: dict[str, Callable[[bool], Iterator[Limit | Growth]]] = {
    "service": service.measure,
    "supply": lambda _: supply.waits(),
    "start-up": lambda _: start_up.measure(7),
}
NAMES = [*(part.name for part in COMPARED), *LIMITED, "growth"]


def main() -> int:
    """Run the suite, print a table, write the record."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds: under five minutes")
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES, help="parts to measure")
    options = parser.parse_args()
    if options.only is not NAMES and (away := sorted(set(options.only) - able(options.quick))):
        fix = "leave --quick out" if options.quick else "run `make peers` first"
        parser.error(f"cannot measure {', '.join(away)} in this run: {fix}")
    torch.set_num_threads(1)
    found = []
    print(f"{'':34}{'ours':>10}{'plain':>10}  {'unit':12}{'ratio':>7}  95 % interval   gate")
    for row in rows(options.quick, options.only):
        found.append(row)
        print(line(row), flush=True)
    missed = [f"{row.name} has a lower bound below {GATES[row.name]}" for row in found if row.low < GATES[row.name]]
    print(f"\n{'the service, full':42}{'':>10}  {'unit':4}  limit")
    full = []
    for limit in limits(options.quick, options.only):
        full.append(limit)
        print(line_of_service(limit), flush=True)
    missed += beyond(full)
    grown = list(growth()) if "growth" in able(options.quick).intersection(options.only) else []
    record(found, full, grown)
    for what in missed:
        print(f"missed: {what}", file=sys.stderr)
    return 1 if missed else 0


def able(quick: bool) -> set[str]:
    """Names of the parts that such a run can measure."""
    if quick:
        return {*(part.name for part in COMPARED if part.runs == "all"), "service"}
    there = {"all", "whole", "with peers"} if peers.installed() else {"all", "whole"}
    return {*(part.name for part in COMPARED if part.runs in there), *LIMITED, "growth"}


def rows(quick: bool, only: Collection[str]) -> Iterator[Comparison]:
    """Ratios, as they are found."""
    can = able(quick)
    for part in COMPARED:
        if part.name in only and part.name in can:
            yield from part.measure(5 if quick else 15)
    if not quick and any(part.name in only and part.name not in can for part in COMPARED):
        print("others' software is not installed: `make peers`")


def limits(quick: bool, only: Collection[str]) -> Iterator[Limit | Growth]:
    """What may take no longer than it should, as it is found."""
    can = able(quick)
    for name, measure in LIMITED.items():
        if name in only and name in can:
            yield from measure(quick)


def growth() -> Iterator[StepTime]:
    """How a step grows, as it is found."""
    print(f"\n{'the step':>30}{'ours':>10}{'plain':>10}  s")
    for one in step.growth(3):
        size = f"{one.clips} clips, {one.frames} frames of {one.side}"
        print(f"{size:>30}{one.ours:>10.3f}{one.plain:>10.3f}", flush=True)
        yield one


def line(row: Comparison) -> str:
    """A row of the table."""
    interval = f"{row.low:.2f} to {row.high:.2f}"
    rates = f"{row.ours:>10.4g}{row.plain:>10.4g}  {row.unit:12}"
    return f"{row.name:34}{rates}{row.ratio:>7.2f}  {interval:15} {GATES[row.name]}"


def beyond(full: list[Limit | Growth]) -> list[str]:
    """What took longer than it may."""
    late = [row for row in full if isinstance(row, Limit) and row.value > row.most]
    return [f"{row.name} took {row.value:.3g} {row.unit}, more than {row.most:g}" for row in late]


def line_of_service(row: Limit | Growth) -> str:
    """A row of the second table, or of how it grows."""
    if isinstance(row, Limit):
        return f"{row.name:42}{row.value:>10.4g}  {row.unit:4}  {row.most:g}"
    there = f"{row.queued:,} queued, {row.finished:,} finished"
    return f"  {there:40}pass {row.pass_ms:.0f} ms, lists (p95) {row.list_ms:.0f} ms"


def record(found: list[Comparison], full: list[Limit | Growth], grown: list[StepTime]) -> None:
    """Append the run to this machine's record, a JSON line."""
    RESULTS.mkdir(exist_ok=True)
    machine = {"processor": _processor(), "python": platform.python_version(), "torch": torch.__version__}
    entry = {"at": datetime.now(UTC).isoformat(timespec="seconds"), **machine, "rows": [asdict(row) for row in found]}
    entry["service"], entry["step"] = ([asdict(row) for row in part] for part in (full, grown))
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
