"""The training step on one GPU: is it right, how fast is it, and where does the time go.

`python -m benchmarks.gpu --out DIR` measures for at most eight minutes, writes each figure to DIR/gpu.jsonl as it is
found and ends with a table. It needs torch, pydantic and, for the plain network, torchvision. Without
a GPU, `--smoke` runs everything once on tiny clips: that it runs is all this shows.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.checks import agreement, nccl, resume
from benchmarks.gpu.speed import features, kernels, machine, steps, views, work_of_a_clip
from benchmarks.gpu.step import PAPER, SMOKE, Bench
from cmac_core.training.precision import make_ready


def main() -> int:
    """Measure; 1 when a part failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.jsonl and gpu.md")
    parser.add_argument("--seconds", type=float, default=440, help="after which nothing more is begun")
    parser.add_argument("--smoke", action="store_true", help="tiny clips, once: for machines without a GPU")
    options = parser.parse_args()
    if not options.smoke and not torch.cuda.is_available():
        print("benchmarks.gpu: no GPU here; --smoke only shows that it runs", file=sys.stderr)
        return 2
    bench = Bench(options.out, SMOKE if options.smoke else PAPER, options.seconds)
    make_ready("bf16", bench.device)
    machine(bench)
    work = work_of_a_clip(bench)
    steps(bench, bench.scale.cases, work)
    for section in (resume, nccl, agreement, features, views, kernels):
        section(bench)
    steps(bench, bench.scale.late, work)
    (options.out / "gpu.md").write_text(table(bench.rows))
    print(table(bench.rows))
    return 1 if bench.failed else 0


def table(rows: list[dict[str, Any]]) -> str:
    """The step's cases in Markdown."""
    head = ["variant", "batch", "precision", "BN group", "clips/s", "MFU %", "% of eager", "% of fused", "peak GB"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    keys = ("clips_per_s", "mfu", "of_eager", "of_fused", "peak_gb")
    for row in (row for row in rows if row["section"] == "step"):
        cells = [row["variant"], row["batch"], row["precision"], row["group"] or 16]
        cells += [row.get(key, row.get("failed", "left out")[:40]) for key in keys]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
