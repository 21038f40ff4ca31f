"""An experiment's tables as text: cells of a page, Markdown, LaTeX, records for CSV. A `view` is /results' body."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

JSON = Mapping[str, Any]

RECORD = (
    "table", "source", "row", "title", "column", "unit", "state", "mean", "std", "n", "of", "paper", "difference",
    "note",
)  # fmt: skip
_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "λ": r"$\lambda$", "Δ": r"$\Delta$",
    "²": r"$^2$", "ŝ": r"$\hat{s}$", "−": r"$-$",
}  # fmt: skip


class TextTable(NamedTuple):
    """Cells as they are read. `numeric`: which columns hold numbers; rows of others come after `ours` rows."""

    title: str
    header: tuple[str, ...]
    numeric: tuple[bool, ...]
    rows: tuple[tuple[str, ...], ...]
    ours: int
    notes: tuple[str, ...]


def text_tables(view: JSON) -> list[TextTable]:
    """All tables of an experiment."""
    return [_text_table(table, view) for table in view["tables"]]


def markdown(view: JSON) -> str:
    """GitHub's Markdown: a heading, a table and its notes for each table."""
    return "\n".join(_markdown(table) for table in text_tables(view))


def latex(view: JSON) -> str:
    """A `table` for each table; the rules are those of the booktabs package."""
    return "% \\usepackage{booktabs}\n" + "\n".join(_latex(table) for table in text_tables(view))


def records(view: JSON) -> Iterator[tuple[Any, ...]]:
    """One record a number, in the order of RECORD: ours, the paper's where we measure nothing, and those of others."""
    for table in view["tables"]:
        units = {column["key"]: column["unit"] for column in table["columns"]}
        for row in table["rows"]:
            head = (table["key"], "ours", row["key"], row["title"])
            for cell in row["cells"]:
                numbers = (_plain(cell["mean"]), _plain(cell["std"]), cell["n"], cell["of"], cell["paper"])
                note = "; ".join(filter(None, (cell["why"], row["note"])))
                what = (cell["column"], units[cell["column"]], cell["state"])
                yield (*head, *what, *numbers, _plain(cell["difference"]), note)
            for key in (one["key"] for one in table["reference"] if one["key"] in row["paper"]):
                yield _printed(table, "paper", row["key"], row["title"], key, row["paper"][key], row["note"])
        for one in table["published"]:
            note = "; ".join(filter(None, (one["setting"], one["caveat"])))
            for key, number in one["numbers"].items():
                yield _printed(table, "published", one["method"], one["method"], key, number, note)


def cell_text(cell: JSON, unit: str) -> str:
    """`57.9 ± 1.2`; with what is missing: `57.9 (1 of 3, pending)`, `pending`, `failed`, `–` where nothing runs."""
    if cell["state"] == "skipped":
        return "–"
    if cell["mean"] is None:
        return str(cell["state"])
    text = number(cell["mean"], unit)
    if cell["std"] is not None:
        text += f" ± {number(cell['std'], unit)}"
    whole = cell["n"] == cell["of"] and cell["state"] == "succeeded"
    return text if whole else f"{text} ({cell['n']} of {cell['of']}, {cell['state']})"


def number(value: float | None, unit: str = "%") -> str:
    """Percents with one decimal, the rest with two; nothing for None."""
    if value is None:
        return ""
    return f"{value:.1f}" if unit == "%" else f"{value:.2f}"


def _text_table(table: JSON, view: JSON) -> TextTable:
    printed = {key for row in table["rows"] for key in row["paper"]} | {
        key for one in table["published"] for key in one["numbers"]
    }
    header, numeric = [""], [False]
    for column in table["columns"]:
        header.append(f"{column['title']} ({column['unit']})")
        header += ["paper", "Δ"] if column["key"] in printed else []
    header += [f"{one['title']} (paper)" for one in table["reference"]]
    numeric += [True] * (len(header) - 1)
    rows = [(row["title"], *_ours(table, row, printed), row["note"]) for row in table["rows"]]
    others = [
        (
            one["method"],
            *_others(table, one["numbers"], printed),
            "; ".join(filter(None, (one["setting"], one["caveat"]))),
        )
        for one in table["published"]
    ]
    cells = (*rows, *others)
    if any(row[-1] for row in cells):
        header, numeric = [*header, "note"], [*numeric, False]
    else:
        cells = tuple(row[:-1] for row in cells)
    notes = (_seeds(view["seeds"]), *_why(table), *table["caveats"])
    return TextTable(table["title"], tuple(header), tuple(numeric), cells, len(rows), notes)


def _ours(table: JSON, row: JSON, printed: set[str]) -> Iterator[str]:
    for column, cell in zip(table["columns"], row["cells"], strict=True):
        yield cell_text(cell, column["unit"])
        if column["key"] in printed:
            difference = cell["difference"]
            yield number(cell["paper"])
            yield "" if difference is None else f"{difference:+.1f}".replace("-", "−")
    for one in table["reference"]:
        yield number(row["paper"].get(one["key"]))


def _others(table: JSON, numbers: Mapping[str, float], printed: set[str]) -> Iterator[str]:
    for column in table["columns"]:
        yield ""
        if column["key"] in printed:
            yield number(numbers.get(column["key"]))
            yield ""
    for one in table["reference"]:
        yield number(numbers.get(one["key"]))


def _seeds(seeds: Sequence[int]) -> str:
    listed = ", ".join(map(str, seeds))
    return f"Ours: mean ± standard deviation over the seeds {listed}." if len(seeds) > 1 else f"Ours: seed {listed}."


def _why(table: JSON) -> Iterator[str]:
    """Why cells are empty: each reason once, with the rows that it is true of."""
    found: dict[str, list[str]] = {}
    for row in table["rows"]:
        for why in {cell["why"] for cell in row["cells"] if cell["why"]}:
            found.setdefault(why, []).append(row["title"])
    yield from (f"{', '.join(rows)}: {why}." for why, rows in sorted(found.items()))


def _markdown(table: TextTable) -> str:
    lines = [f"## {_cell(table.title)}", "", _line(table.header)]
    lines.append("|" + "|".join("---:" if numeric else "---" for numeric in table.numeric) + "|")
    lines += [_line(row) for row in table.rows]
    return "\n".join([*lines, "", *(f"- {_cell(note)}" for note in table.notes), ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Nothing that ends a cell or a line, or that starts HTML."""
    escaped = text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return " ".join(escaped.split())


def _latex(table: TextTable) -> str:
    form = "".join("r" if numeric else "l" for numeric in table.numeric)
    body = [f"  {' & '.join(map(_escaped, row))} \\\\" for row in table.rows]
    if 0 < table.ours < len(body):
        body.insert(table.ours, "  \\midrule")
    return "\n".join(
        [
            "\\begin{table}",
            f"  \\caption{{{_escaped(table.title)}. {_escaped(' '.join(table.notes))}}}",
            f"  \\begin{{tabular}}{{{form}}}",
            "  \\toprule",
            f"  {' & '.join(map(_escaped, table.header))} \\\\",
            "  \\midrule",
            *body,
            "  \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
            "",
        ]
    )


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def _printed(table: JSON, source: str, row: str, title: str, column: str, value: float, note: str) -> tuple[Any, ...]:
    return (table["key"], source, row, title, column, "%", "", None, None, None, None, value, None, note)


def _plain(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
