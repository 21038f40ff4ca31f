"""Who is taken for whom, and how well each class is told: one table and one picture for every classifier."""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmac_core.evaluation.plots import draw_confusion
from cmac_core.training.run import Run


def confusion(truth: Sequence[str], predicted: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    """(C, C) counts: rows are the truth, columns what was predicted."""
    row = {label: i for i, label in enumerate(classes)}
    table = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(table, ([row[t] for t in truth], [row[p] for p in predicted]), 1)
    return table


def keep_confusion(
    run: Run,
    title: str,
    label: str,
    truth: Sequence[str],
    predicted: Sequence[str],
    classes: Sequence[str],
    pool: str | None = None,
) -> None:
    """Publish counts and per-class accuracy of test videos as CSV and as a picture, named `confusion[-pool]`."""
    table = confusion(truth, predicted, classes)
    name = f"confusion-{pool}" if pool else "confusion"
    meta = {"pool": pool} if pool else {}
    path = run.folder / "artifacts" / name
    path.parent.mkdir(exist_ok=True)
    _write(path.with_suffix(".csv"), label, table, classes)
    run.artifact(f"{name}.csv", "table", "text/csv", path.with_suffix(".csv"), meta)
    heading = f"{title}\n{100 * table.trace() / table.sum():.1f} % of {len(truth)} test clips"
    draw_confusion(path.with_suffix(".png"), heading, table, classes)
    run.artifact(f"{name}.png", "plot", "image/png", path.with_suffix(".png"), meta)


def _write(path: Path, label: str, table: np.ndarray, classes: Sequence[str]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([label, "n", "accuracy_%", *(f"predicted {c}" for c in classes)])
        for i, (row, name) in enumerate(zip(table, classes, strict=True)):
            n = int(row.sum())
            writer.writerow([name, n, f"{100 * row[i] / n:.2f}" if n else "", *row.tolist()])
