"""Pictures of results: recall against k, and who is taken for whom."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

INK, OURS, RANDOM, CHANCE = "#1f2933", "#1769aa", "#d9822b", "#8a96a3"
NOTE: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "fontsize": 8, "color": INK}
COLORS = {"ours": OURS, "random init": RANDOM, "chance": CHANCE}


def blank(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure, in inches, with the project's look; no global state. None: axes are placed by hand."""
    figure = Figure(figsize=(width, height), dpi=120, layout=layout, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def draw_recall(
    path: Path, title: str, curves: Mapping[str, Mapping[str, Sequence[float]]], ks: Sequence[int], n: int
) -> None:
    """One panel a pool; in each, recall in percent at every k of ours, random init and chance."""
    figure = blank(0.6 + 4.2 * len(curves), 3.9)
    figure.suptitle(title, color=INK, fontsize=12, fontweight="bold")
    axes = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    positions = np.arange(len(ks))
    for ax, (pool, lines) in zip(axes, curves.items(), strict=True):
        for name, values in lines.items():
            style = "--" if name == "chance" else "-"
            ax.plot(positions, values, style, marker="o", ms=5, lw=2, color=COLORS[name], label=name)
            if name == "ours":
                for x, value in zip(positions, values, strict=True):
                    ax.annotate(f"{value:.1f}", (x, value), (0, 7), **NOTE)
        ax.set_title(f"pool {pool}", fontsize=10.5)
        ax.set(xlabel="k", xticks=positions, ylim=(0, 108))
        ax.set_xticklabels([str(k) for k in ks])
        tidy(ax)
    axes[0].set_ylabel(f"recall at k, % of {n} queries")
    axes[-1].legend(frameon=False, fontsize=9, loc="lower right")
    figure.savefig(path)


def draw_confusion(path: Path, title: str, table: np.ndarray, classes: Sequence[str]) -> None:
    """Rows are the truth, each adding up to 100 %; counts are written in small tables. Beside it each class's share."""
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    size = float(np.clip(0.42 * len(classes), 3.2, 14))
    figure = blank(size + 4.4, size + 1.6)
    ax, beside = figure.subplots(1, 2, sharey=True, width_ratios=[size, 1.6])
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.suptitle(title, color=INK, fontsize=11, fontweight="bold", x=0.01, ha="left")
    ticks = range(len(classes))
    ax.set_xticks(ticks, classes, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    ax.set_yticks(ticks, classes, fontsize=8)
    ax.set(xlabel="predicted", ylabel="truth")
    if len(classes) <= 25:
        for i, j in np.argwhere(table > 0):
            color = "white" if shares[i, j] > 0.55 else INK
            ax.text(j, i, str(table[i, j]), ha="center", va="center", fontsize=7.5, color=color)
    _draw_per_class(beside, np.diag(shares), table.sum(1))
    bar = figure.colorbar(image, ax=beside, shrink=0.7, label="share of the true class")
    bar.outline.set_visible(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    figure.savefig(path)


def _draw_per_class(ax: Axes, accuracy: np.ndarray, counts: np.ndarray) -> None:
    """A bar a class, on the rows of the matrix beside it; a class without test clips has none."""
    rows = np.flatnonzero(counts).tolist()
    percent = [100 * float(accuracy[row]) for row in rows]
    ax.barh(rows, percent, color=OURS, height=0.7)
    for row, value in zip(rows, percent, strict=True) if len(counts) <= 60 else ():
        ax.text(value + 2, row, f"{value:.0f}", va="center", fontsize=7.5, color=INK)
    ax.set(xlim=(0, 118), xticks=[0, 50, 100], xlabel="accuracy, %")
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.tick_params(left=False, labelleft=False)


def tidy(ax: Axes) -> None:
    """Fewer lines, so that the data are what one sees."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="#e5e8eb", lw=0.8)
    ax.set_axisbelow(True)
