"""Where a job is, in a few words."""

from collections.abc import Mapping
from typing import Any

Row = Mapping[str, Any]


def standing(row: Row) -> str:
    """Where a job is in a few words: progress while it runs, why it waits, why it ended."""
    state = str(row["state"])
    if state in ("failed", "cancelled"):
        return ": ".join(str(row[key]) for key in ("reason", "detail") if row.get(key))
    if state == "succeeded":
        return ""
    waiting = row.get("waiting") or {}
    if state in ("queued", "blocked", "held", "paused") and waiting:
        return str(waiting.get("text") or waiting.get("code") or "")
    return progress_text(row.get("progress"))


def progress_text(progress: Row | None) -> str:
    """`train 120/500, 49.1 clips/s, 0:03:10 left`."""
    if not progress:
        return ""
    parts = [f"{progress.get('phase') or ''} {progress.get('step', 0)}/{progress.get('of', '?')}".strip()]
    if progress.get("rate"):
        parts.append(f"{float(progress['rate']):.3g} {progress.get('unit') or 'it'}/s")
    if progress.get("eta_s") is not None:
        parts.append(f"{clock(float(progress['eta_s']))} left")
    return ", ".join(parts)


def clock(seconds: float) -> str:
    """1:02:03 or 2:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
