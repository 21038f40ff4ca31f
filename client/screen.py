"""The lab on one screen: machines, what runs, what waits."""

import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from client.feed import MOST, View
from client.progress import bar
from client.standing import clock, progress_text
from client.tables import STATE_STYLES, size, state_text

Row = Mapping[str, Any]
BAR = 12
_HELP = "q quits · arrows scroll · / filters"


class Screen:
    """A view at the height of the terminal: a head, a part of the rest from line `top` on, and a line of help."""

    def __init__(self, view: View, top: int = 0, wanted: str = "", *, typing: bool = False) -> None:
        self._view, self.top, self._wanted, self._typing = view, top, wanted, typing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = max(options.max_height, 4)
        plain = options.update(height=None)
        body = console.render_lines(page(self._view, self._wanted), plain, pad=True)
        room = height - 2
        self.top = max(0, min(self.top, len(body) - room))
        below = max(0, len(body) - self.top - room)
        lines = [
            *console.render_lines(head(self._view), plain)[:1],
            *body[self.top : self.top + room],
            *[[Segment(" ")]] * (room - len(body)),
            *console.render_lines(self._foot(below), plain)[:1],
        ]
        for place, line in enumerate(lines):
            yield from line
            if place + 1 < len(lines):
                yield Segment.line()

    def _foot(self, below: int) -> Text:
        if self._typing:
            return _line(Text(f"filter: {self._wanted}_   enter keeps it, escape ends it", style="reverse"))
        more = f" · {below} lines below" if below else ""
        kept = f" · only {self._wanted!r}" if self._wanted else ""
        return _line(Text(f"{_HELP}{kept}{more}", style="dim"))


def head(view: View) -> Text:
    """One line: the time, and how much of everything; what is wrong instead, while the service is away."""
    when = datetime.fromtimestamp(view.at).strftime("%H:%M:%S")
    if view.trouble:
        return _line(Text(f"{clock(time.time() - view.at)} old: {view.trouble}", style="bold red"))
    gpus = [device for node in view.nodes for device in node["devices"] if device["kind"] == "gpu"]
    busy = sum(device["lease"] is not None for device in gpus)
    counts = f"{len(view.running)} at work · {_count(view.waiting)} wait · {len(view.nodes)} machines"
    return _line(Text(f"{when}  {counts}" + (f" · {busy}/{len(gpus)} GPUs leased" if gpus else ""), style="bold"))


def _count(rows: Sequence[Row]) -> str:
    return f"{MOST} or more" if len(rows) >= MOST else str(len(rows))


def page(view: View, wanted: str = "") -> RenderableType:
    """Everything below the head; jobs whose id, name, kind or owner has `wanted` in it."""
    owners = {str(row["id"]): str(row["owner"]) for row in view.running}
    running, waiting = ([row for row in rows if _fits(row, wanted)] for rows in (view.running, view.waiting))
    return Group(
        _title("MACHINES"), _machines(view.nodes, owners), _title("AT WORK"), _running(running), _title("WAITING"),
        _waiting(waiting),
    )  # fmt: skip


def _machines(nodes: Sequence[Row], owners: Mapping[str, str]) -> RenderableType:
    made = _grid(10, 6, 16, 5, 16, None)
    for node in nodes:
        state = "suspect" if node["suspect"] and node["state"] == "ready" else str(node["state"])
        reason = f" ({node['reason']})" if node.get("reason") else ""
        slots = [device for device in node["devices"] if device["kind"] != "gpu"]
        used = f"{sum(device['lease'] is not None for device in slots)}/{len(slots)} CPU slots" if slots else ""
        made.add_row(_name(node["name"]), "", used, "", state_text(state), escape(reason.strip()))
        for device in (one for one in node["devices"] if one["kind"] == "gpu"):
            made.add_row("", *_device(device, owners))
    return made if nodes else Text("  no machine has a worker yet", style="dim")


def _device(device: Row, owners: Mapping[str, str]) -> tuple[str | Text, ...]:
    health, lease = device.get("health") or {}, device["lease"]
    load = "" if health.get("use") is None else f"{health['use']:.0f} %"
    total = (device.get("memory_mb") or 0) * 1e6
    memory = "" if health.get("used_mb") is None else f"{size(health['used_mb'] * 1e6)} of {size(total)}"
    job = "" if lease is None else str(lease["job"])
    who = f"{job[:8]} {owners.get(job, '')}" if job else ""
    state = str(device["state"])
    shown = Text(state, style=STATE_STYLES.get(state, "yellow"))
    return f"gpu {device['index']}", escape(str(device["model"] or "")), load, memory or shown, escape(who)


def _running(rows: Sequence[Row]) -> RenderableType:
    made = _grid(8, 16, 8, BAR, None)
    for row in rows:
        words = progress_text(row.get("progress")) if row["state"] == "running" else str(row["state"])
        made.add_row(str(row["id"])[:8], _name(row["name"] or row["kind"]), _name(row["owner"]), bar(row, BAR), words)
    return made if rows else Text("  nothing", style="dim")


def _waiting(rows: Sequence[Row]) -> RenderableType:
    made = _grid(4, 8, 16, 8, 8, None)
    for row in rows:
        waiting = row.get("waiting") or {}
        made.add_row(
            f"{row['position']:>4}", str(row["id"])[:8], _name(row["name"] or row["kind"]), _name(row["owner"]),
            _expected(waiting.get("expected_start")), escape(str(waiting.get("text") or "")),
        )  # fmt: skip
    return made if rows else Text("  nothing", style="dim")


def _expected(start: str | None) -> str:
    if start is None:
        return ""
    left = datetime.fromisoformat(start).timestamp() - time.time()
    return f"in {clock(left)}" if left > 0 else "soon"


def _fits(row: Row, wanted: str) -> bool:
    texts = (str(row[key]).lower() for key in ("id", "name", "kind", "owner"))
    return any(wanted.lower() in text for text in texts)


def _grid(*widths: int | None) -> Table:
    """One line a row at any width: columns of these widths, the last one takes what is left."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0), expand=True)
    for width in widths:
        made.add_column(width=width, ratio=None if width else 1, no_wrap=True, overflow="ellipsis")
    return made


def _name(text: Any) -> str:
    return escape(str(text))


def _title(text: str) -> RenderableType:
    return Text(text, style="bold cyan")


def _line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
