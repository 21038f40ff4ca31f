"""A table over an axis as a figure, in SVG: a panel for each column, ours with its spread, the paper's points."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Any, NamedTuple

JSON = Mapping[str, Any]

WIDTH, HEIGHT = 360, 280  # of a panel, pixels
ACROSS = 3  # panels in a line
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 50
MIDDLE = (LEFT + WIDTH - RIGHT) // 2
TITLE = 34
OURS, PAPER, GRID, TEXT = "#1f5fa8", "#c0392b", "#dddddd", "#222222"
STYLE = (
    "text{font-family:'DejaVu Sans',Helvetica,Arial,sans-serif;font-size:12px;fill:#222222}"
    ".title{font-size:15px;font-weight:bold}.panel{font-weight:bold}"
)


class Point(NamedTuple):
    """A row's place in a panel. `y` None: not there yet."""

    x: float
    y: float | None
    spread: float
    paper: float | None


class Scale(NamedTuple):
    """From values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def svg(table: JSON) -> str:
    """The figure. Raises ValueError when the rows have no place on an axis."""
    if any(row["x"] is None for row in table["rows"]):
        raise ValueError(f"{table['key']} has no axis: only rows that are points of one number make a figure")
    panels = [_panel(table, place) for place in range(len(table["columns"]))]
    lines = ceil(len(panels) / ACROSS)
    width, height = WIDTH * max(1, min(len(panels), ACROSS)), TITLE + HEIGHT * lines + 24
    known = any(cell["paper"] is not None for row in table["rows"] for cell in row["cells"])
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
            f'viewBox="0 0 {width} {height}" role="img">',
            f"<title>{escape(table['title'])}</title>",
            f"<style>{STYLE}</style>",
            f'<rect width="{width}" height="{height}" fill="white"/>',
            f'<text class="title" x="{LEFT}" y="22">{escape(table["title"])}</text>',
            *(f'<g transform="translate({_corner(place)})">\n{panel}\n</g>' for place, panel in enumerate(panels)),
            _legend(height - 10, known),
            "</svg>\n",
        ]
    )


def _corner(place: int) -> str:
    return f"{WIDTH * (place % ACROSS)},{TITLE + HEIGHT * (place // ACROSS)}"


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers that span a range."""
    step = _round_up((high - low) / (most - 1))
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(place * step, 10) for place in range(first, last + 1)]


def _round_up(step: float) -> float:
    size = 10.0 ** floor(log10(step))
    return next(factor * size for factor in (1, 2, 2.5, 5, 10) if factor * size >= step * (1 - 1e-9))


def _panel(table: JSON, place: int) -> str:
    column = table["columns"][place]
    points = [_point(row, row["cells"][place]) for row in table["rows"]]
    heights = [
        height
        for point in points
        for height in (
            *(() if point.y is None else (point.y - point.spread, point.y + point.spread)),
            *(() if point.paper is None else (point.paper,)),
        )
    ]
    y_ticks = _axis_ticks(heights or [0.0, 1.0])
    x_ticks = sorted({point.x for point in points})
    x_span = _axis_ticks(x_ticks)
    across = Scale(min(x_span[0], x_ticks[0]), max(x_span[-1], x_ticks[-1]), LEFT, WIDTH - RIGHT)
    up = Scale(y_ticks[0], y_ticks[-1], HEIGHT - BOTTOM, TOP)
    title = f"{column['title']} ({column['unit']})"
    return "\n".join(
        [
            f'<text class="panel" x="{LEFT}" y="{TOP - 14}">{escape(title)}</text>',
            *(_rule(up(tick), tick) for tick in y_ticks),
            *(_mark(across(tick), tick) for tick in (x_ticks if len(x_ticks) <= 8 else x_span)),
            f'<text x="{MIDDLE}" y="{HEIGHT - 12}" text-anchor="middle">{escape(table["x"])}</text>',
            _line(points, across, up),
            *(_ours(point, across, up) for point in points),
            *(_paper(point, across, up) for point in points),
            *([] if heights else [_nothing_yet()]),
        ]
    )


def _point(row: JSON, cell: JSON) -> Point:
    return Point(float(row["x"]), cell["mean"], cell["std"] or 0.0, cell["paper"])


def _axis_ticks(values: Sequence[float]) -> list[float]:
    low, high = min(values), max(values)
    if high - low < 1e-9:  # one height alone: some room around it
        low, high = low - 1, high + 1
    return ticks(low, high)


def _rule(y: float, value: float) -> str:
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="{GRID}"/>'
        f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    )


def _mark(x: float, value: float) -> str:
    bottom = HEIGHT - BOTTOM
    return (
        f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 5}" stroke="{TEXT}"/>'
        f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{value:g}</text>'
    )


def _line(points: Sequence[Point], across: Scale, up: Scale) -> str:
    """Through our points in their order; a gap where one is missing."""
    runs: list[list[str]] = [[]]
    for point in sorted(points):
        if point.y is None:
            runs.append([])
        else:
            runs[-1].append(f"{across(point.x):.1f},{up(point.y):.1f}")
    return "\n".join(
        f'<polyline points="{" ".join(run)}" fill="none" stroke="{OURS}" stroke-width="2"/>'
        for run in runs
        if len(run) > 1
    )


def _ours(point: Point, across: Scale, up: Scale) -> str:
    if point.y is None:
        return ""
    x, y = across(point.x), up(point.y)
    bar = ""
    if point.spread:
        high, low = up(point.y + point.spread), up(point.y - point.spread)
        caps = f"M{x - 4:.1f},{low:.1f}h8M{x - 4:.1f},{high:.1f}h8"
        bar = f'<path d="M{x:.1f},{low:.1f}V{high:.1f}{caps}" stroke="{OURS}"/>'
    return f'{bar}<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{OURS}"/>'


def _paper(point: Point, across: Scale, up: Scale) -> str:
    if point.paper is None:
        return ""
    x, y = across(point.x), up(point.paper)
    return f'<path d="M{x:.1f},{y - 5:.1f}l5,5l-5,5l-5,-5z" fill="white" stroke="{PAPER}" stroke-width="2"/>'


def _nothing_yet() -> str:
    return f'<text x="{MIDDLE}" y="{HEIGHT // 2}" text-anchor="middle">pending</text>'


def _legend(y: float, paper: bool) -> str:
    ours = (
        f'<circle cx="{LEFT + 4}" cy="{y - 4}" r="4" fill="{OURS}"/>'
        f'<text x="{LEFT + 14}" y="{y}">ours, mean ± standard deviation over seeds</text>'
    )
    if not paper:
        return ours
    return ours + (
        f'<path d="M{LEFT + 308},{y - 9}l5,5l-5,5l-5,-5z" fill="white" stroke="{PAPER}" stroke-width="2"/>'
        f'<text x="{LEFT + 320}" y="{y}">paper</text>'
    )
