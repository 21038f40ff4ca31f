"""What a notebook shows: objects as HTML, and a display that is renewed in its place."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib import import_module
from typing import Any


def facts_html(title: str, pairs: Iterable[tuple[str, Any]]) -> str:
    """A heading and names with values; empty values are left out. Everything is escaped."""
    rows = [
        f"<tr><th style='text-align:left'>{escape(name)}</th><td style='text-align:left'>{escape(str(value))}</td></tr>"
        for name, value in pairs
        if value not in (None, "", [], {})
    ]
    return f"<b>{escape(title)}</b><table>{''.join(rows)}</table>"


def table_html(title: str, header: Sequence[str], rows: Iterable[Sequence[str]], notes: Iterable[str] = ()) -> str:
    """A heading, a table, and lines below it. Everything is escaped."""
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in row)}</tr>" for row in rows)
    below = "".join(f"<div><small>{escape(note)}</small></div>" for note in notes)
    return f"<b>{escape(title)}</b><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{below}"


def progress_html(lines: Iterable[tuple[str, str, float | None, str]]) -> str:
    """One bar a line: label, state, share done (None: unknown) and words."""
    rows = "".join(
        f"<tr><td style='text-align:left'>{escape(label)}</td><td>{escape(state)}</td>"
        f"<td><progress max='1'{'' if share is None else f' value={share:.4f}'}></progress></td>"
        f"<td style='text-align:left'>{escape(words)}</td></tr>"
        for label, state, share, words in lines
    )
    return f"<table>{rows}</table>"


def display() -> Callable[[str], None] | None:
    """Shows HTML in the cell that runs, each time in the place of the last; None outside of notebooks."""
    if not in_notebook():
        return None
    shown: Any = import_module("IPython.display")  # a notebook has it
    handle = shown.display(shown.HTML(""), display_id=True)

    def renew(text: str) -> None:
        handle.update(shown.HTML(text))

    return renew


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this."""
    try:
        shell: Any = get_ipython()  # type: ignore[name-defined] # IPython puts it there
    except NameError:
        return False
    return type(shell).__name__ == "ZMQInteractiveShell"


def share_done(row: Mapping[str, Any]) -> float | None:
    """Of a job: 1 after success, 0 while it waits, what it says while it runs."""
    progress = row.get("progress") or {}
    if row["state"] == "succeeded":
        return 1.0
    if row["state"] in ("scheduled", "running", "stopping"):
        return min(1.0, float(progress.get("step") or 0) / float(progress["of"])) if progress.get("of") else None
    return 0.0
