"""What lists and results look like on a terminal."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from client.results import Result, Value
from client.standing import standing
from cmac_core.experiments.text_tables import TextTable, text_tables

Row = Mapping[str, Any]
STATE_STYLES = {
    "succeeded": "green",
    "running": "cyan",
    "scheduled": "cyan",
    "stopping": "yellow",
    "failed": "red",
    "cancelled": "yellow",
    "ok": "green",
    "ready": "green",
    "lost": "red",
    "arrived": "green",
    "failing": "yellow",
    "given_up": "red",
    "disabled": "red",
}


_WHOLE = ("id", "job", "kind", "state", "age")
LABEL_WIDTH = 17  # characters of a row's name that narrow terminals still show in a line


def table(*columns: str | tuple[str, str], title: str | None = None) -> Table:
    """An empty table; a column is its name, or (name, "right")."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, header_style="bold")
    for column in columns:
        name, justify = column if isinstance(column, tuple) else (column, "left")
        # What is short and read at one glance is never broken; the longest column gives way.
        made.add_column(
            name, justify="right" if justify == "right" else "left", overflow="fold", no_wrap=name in _WHOLE
        )
    return made


def state_text(state: str) -> Text:
    """A state in its color."""
    return Text(state, style=STATE_STYLES.get(state, ""))


def jobs_table(rows: Iterable[Row]) -> RenderableType:
    """One line a job: what it is, where it stands, why it waits."""
    made = table("id", "kind", "name", "state", "progress / waiting for", ("age", "right"))
    for row in rows:
        made.add_row(
            str(row["id"])[:8],
            str(row["kind"]),
            escape(str(row.get("name") or "")),
            state_text(str(row["state"])),
            escape(standing(row)),
            age(row.get("submitted_at")),
        )
    return made if made.row_count else "no jobs"


def usage_table(rows: Iterable[Row]) -> RenderableType:
    """One line a person in a project: what was used of late, what is held, what waits."""
    made = table("project", "user", *((name, "right") for name in ("GPU-hours", "GPUs", "CPU slots", "queued")))
    for row in rows:
        numbers = (f"{row['gpu_hours']:.1f}", *(str(row[key]) for key in ("gpus", "cpu_slots", "queued")))
        made.add_row(escape(str(row["project"])), escape(str(row["owner"])), *numbers)
    return made


def quotas_table(rows: Iterable[Row]) -> RenderableType:
    """One line a subject; a dash is without limit."""
    names = ("max_gpus", "max_running", "max_queued", "share")
    made = table("subject", *((name.replace("_", " "), "right") for name in names))
    for row in rows:
        made.add_row(escape(str(row["subject"])), *("–" if row[name] is None else f"{row[name]:g}" for name in names))
    return made


def projects_table(rows: Iterable[Row]) -> RenderableType:
    """One line a project, sizes in GB."""
    sizes = ("dataset_bytes", "checkpoint_bytes", "artifact_bytes")
    made = table("project", *((name, "right") for name in ("jobs", "datasets, GB", "checkpoints, GB", "artifacts, GB")))
    for row in rows:
        made.add_row(str(row["name"]), str(row["jobs"]), *(f"{row[size] / 1e9:.2f}" for size in sizes))
    return made


def users_table(rows: Iterable[Row]) -> RenderableType:
    """One line a user."""
    made = table("user", "role", "", ("age", "right"))
    for row in rows:
        made.add_row(
            escape(str(row["name"])), str(row["role"]), "disabled" if row["disabled"] else "", age(row["created_at"])
        )
    return made


def webhooks_table(rows: Iterable[Row]) -> RenderableType:
    """One line a receiver: what it is told, and how that goes."""
    made = table("id", "url", "project", "events", "state", "last error")
    for row in rows:
        told = ", ".join(row["events"])
        project, error = str(row["project"] or "every one"), str(row["error"] or "")
        made.add_row(
            str(row["id"])[:8], *map(escape, (row["url"], project, told)), state_text(row["state"]), escape(error)
        )
    return made if made.row_count else "no webhooks"


def deliveries_table(rows: Iterable[Row]) -> RenderableType:
    """One line an event: how often it was tried, and what came back."""
    made = table("id", "event", "about", ("age", "right"), ("tries", "right"), "state", "answer")
    for row in rows:
        answered = str(row["error"] or row["status"] or "")
        about = str(row["about"] or "")[:8]
        made.add_row(
            str(row["id"])[:8], row["event"], about, age(row["created_at"]), str(row["sends"]),
            state_text(row["state"]), escape(answered),
        )  # fmt: skip
    return made if made.row_count else "nothing was sent yet"


def result_table(result: Result, title: str | None = None) -> RenderableType:
    """Ours beside a random encoder, chance and the paper; columns that nobody fills are left out."""
    values = result.values
    with_paper = any(value.paper is not None for value in values)
    columns: list[str | tuple[str, str]] = ["value", "of", ("ours", "right"), ("95% CI", "right")]
    columns += [("random init", "right"), ("chance", "right")]
    columns += [("paper", "right")] if with_paper else []
    made = table(*columns, ("n", "right"), title=title)
    for value in values:
        cells: list[str | Text] = [value.name, labels_text(value), Text(number(value.value, value.unit), style="bold")]
        cells += [interval(value), number(value.random_init, value.unit), number(value.chance, value.unit)]
        cells += [number(value.paper, value.unit)] if with_paper else []
        made.add_row(*cells, str(value.n))
    return made


def experiment_tables(view: Mapping[str, Any]) -> RenderableType:
    """The tables of an experiment: ours, the paper's number and the difference; the rows of others; what to know."""
    return Group(*(_experiment_table(found) for found in text_tables(view)))


def _experiment_table(found: TextTable) -> RenderableType:
    """Rows' own notes go below: a column of them would leave no room for words at a terminal's width."""
    noted = found.header[-1] == "note"
    header, rows = (found.header[:-1], [row[:-1] for row in found.rows]) if noted else (found.header, found.rows)
    columns = [(name, "right") if numeric else name for name, numeric in zip(header, found.numeric, strict=False)]
    made = table(*columns, title=escape(found.title))
    made.columns[0].min_width = min(LABEL_WIDTH, max(len(row[0]) for row in rows))
    for place, row in enumerate(rows):
        made.add_row(*map(escape, row), end_section=place + 1 == found.ours)
    own = [f"{row[0]}: {row[-1]}" for row in found.rows if noted and row[-1]]
    return Group(made, *(Text(f"  {note}", style="dim") for note in (*own, *found.notes)))


def labels_text(value: Value) -> str:
    """What tells a value from its namesakes."""
    return " ".join(value.labels.values())


def number(value: float | None, unit: str = "") -> str:
    """Shares with one decimal, the rest with four digits; nothing for None."""
    if value is None:
        return ""
    return f"{value:.1f}%" if unit == "%" else f"{value:.4g}"


def interval(value: Value) -> str:
    """The confidence interval, when there is one."""
    if value.ci_low is None or value.ci_high is None:
        return ""
    digits = ".1f" if value.unit == "%" else ".3g"
    return f"{value.ci_low:{digits}} - {value.ci_high:{digits}}"


def facts(pairs: Iterable[tuple[str, Any]]) -> RenderableType:
    """Names and values below each other; empty values are left out."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value not in (None, "", [], {}):
            made.add_row(name, value if isinstance(value, Text) else escape(str(value)))
    return made


def rows_table(rows: Sequence[Row], *columns: str) -> RenderableType:
    """A plain table of some members of each row."""
    made = table(*columns)
    for row in rows:
        made.add_row(*(escape(cell(row.get(column))) for column in columns))
    return made if rows else "none"


def cell(value: Any) -> str:
    """A value in few characters."""
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return " ".join(f"{key}={cell(inner)}" for key, inner in value.items())
    return ", ".join(cell(inner) for inner in value) if isinstance(value, list) else str(value)


def seconds_between(row: Row) -> float:
    """How long a job has run: from its first start to its end, or until now."""
    if not row.get("started_at"):
        return 0.0
    end = datetime.fromisoformat(str(row["ended_at"])) if row.get("ended_at") else datetime.now(UTC)
    return (end - datetime.fromisoformat(str(row["started_at"]))).total_seconds()


def age(moment: Any) -> str:
    """How long ago an RFC 3339 time was."""
    if not moment:
        return ""
    seconds = (datetime.now(UTC) - datetime.fromisoformat(str(moment))).total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


def size(number_of_bytes: Any) -> str:
    """Bytes with a unit."""
    value = float(number_of_bytes or 0)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.3g} {unit}"
        value /= 1000
    return f"{value:.3g} TB"
