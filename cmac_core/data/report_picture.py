"""A pack's report as a picture: histograms of its clips, clips of each class, and why files were left out."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from cmac_core.data.pack_report import class_column
from cmac_core.evaluation.plots import INK, OURS, RANDOM, blank, tidy

PANELS = {
    "duration_s": "duration, s",
    "fps": "frames per second",
    "short_side_px": "short side, pixels",
    "peak_dbfs": "peak of the sound, dBFS",
}
NAMED = 30  # classes whose names are legible


def draw_report(path: Path, title: str, counts: Mapping[str, int], spreads: Mapping[str, Any]) -> None:
    """Panels of what there is to show; a column without values leaves its panel out."""
    histograms = {name: spreads["histograms"][name] for name in PANELS if name in spreads["histograms"]}
    column = class_column(dict(spreads))
    total = len(histograms) + 1 + (column is not None)
    columns = 2 if total in (2, 4) else min(3, total)
    rows = -(-total // columns)
    figure = blank(4.2 * columns, 0.6 + 3.0 * rows)
    figure.suptitle(title, color=INK, fontsize=12, fontweight="bold")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for name, found in histograms.items():
        _draw_histogram(axes.pop(0), found, PANELS[name])
    if column is not None:
        _draw_classes(axes.pop(0), spreads["clips_of"][column], column)
    _draw_counts(axes.pop(0), counts)
    for ax in axes:
        ax.set_axis_off()
    figure.savefig(path)


def _draw_histogram(ax: Axes, found: Mapping[str, Any], label: str) -> None:
    edges = np.array(found["edges"])
    ax.bar(edges[:-1], found["counts"], width=np.diff(edges), align="edge", color=OURS)
    ax.axvline(found["median"], color=RANDOM, lw=1.5, ls="--")
    ax.set(xlabel=f"{label}   (median {found['median']:g})", ylabel="clips")
    tidy(ax)


def _draw_classes(ax: Axes, found: Mapping[str, int], column: str) -> None:
    positions = range(len(found))
    ax.bar(positions, list(found.values()), color=OURS, width=0.9)
    if len(found) <= NAMED:
        ax.set_xticks(positions, list(found), rotation=60, ha="right", rotation_mode="anchor", fontsize=7)
    else:
        ax.set_xticks([])
    ax.set(xlabel=f"{len(found)} values of {column}", ylabel="clips")
    tidy(ax)


def _draw_counts(ax: Axes, counts: Mapping[str, int]) -> None:
    shown = [(name, count) for name, count in counts.items() if name not in ("listed", "left_out", "broken") and count]
    names = [name.replace("_", " ") for name, _ in shown]
    bars = ax.barh(names, [count for _, count in shown], color=[OURS if n == "packed" else RANDOM for n, _ in shown])
    ax.bar_label(bars, padding=3, fontsize=8, color=INK)
    ax.invert_yaxis()
    ax.margins(x=0.18)
    ax.set_xlabel(f"of {counts['listed']} listed files")
    tidy(ax)
