"""Numbers, times and ids as people read them."""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from store.states import Priority

_ID = re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b")
_UNITS = ("B", "kB", "MB", "GB", "TB")
_SHORT = 8


def short(id: object) -> str:
    """The beginning of an id: enough for the command line too."""
    return str(id)[:_SHORT]


def linked(text: str | None) -> Markup:
    """A reason in words; ids of jobs in it lead there and are short."""
    told = str(escape(text or ""))
    return Markup(_ID.sub(lambda found: f'<a href="/ui/jobs/{found[0]}">{short(found[0])}</a>', told))


def moment(at: datetime | str | None) -> Markup:
    """A time element in UTC, which the page's script puts into the reader's own zone."""
    if at is None:
        return Markup("–")
    when = datetime.fromisoformat(at) if isinstance(at, str) else at
    when = when.astimezone(UTC)
    shown = when.strftime("%Y-%m-%d %H:%M")
    return Markup('<time datetime="{}" title="{} UTC">{}</time>').format(
        when.isoformat(timespec="seconds"), shown, shown
    )


def duration(seconds: float | None) -> str:
    """The two largest units: 3 d 4 h, 5 min 6 s."""
    if seconds is None:
        return "–"
    left = max(0, round(seconds))
    days, left = divmod(left, 86400)
    hours, left = divmod(left, 3600)
    minutes, left = divmod(left, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), 3)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2] if count) or "0 s"


def size(count: float | None) -> str:
    """Bytes with three figures: 1.53 GB."""
    if count is None:
        return "–"
    value, unit = float(count), 0
    while value >= 1000 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {_UNITS[unit]}" if unit else f"{value:.0f} B"


def number(value: Any) -> str:
    """Four figures, thousands apart."""
    if value is None:
        return "–"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def devices(job: Any) -> str:
    """What a job asks for: 8 GPUs on 2 machines."""
    count, what = (job.gpus, "GPU") if job.gpus else (job.cpu_slots, "CPU slot")
    where = f" on {job.nodes} machines" if job.nodes > 1 else ""
    return f"{count} {what}{'' if count == 1 else 's'}{where}"


def tier(job: Any) -> str:
    """The name of a job's priority."""
    rank: int = job.priority
    return list(Priority)[rank]


FILTERS: dict[str, Callable[..., Any]] = {
    "short": short,
    "linked": linked,
    "moment": moment,
    "duration": duration,
    "size": size,
    "number": number,
    "devices": devices,
    "tier": tier,
}
