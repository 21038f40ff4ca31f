"""A table as Markdown, LaTeX and records, to the letter."""

from typing import Any

from cmac_core.experiments.text_tables import RECORD, cell_text, latex, markdown, records


def cell(column: str, state: str, **more: Any) -> dict[str, Any]:
    blank = {"mean": None, "std": None, "n": 0, "of": 2, "paper": None, "difference": None, "why": ""}
    return {"column": column, "state": state, **blank, **more}


VIEW: dict[str, Any] = {
    "seeds": [0, 1],
    "tables": [
        {
            "key": "table-9",
            "title": "Table 9: 50 % of a & b",
            "columns": [
                {"key": "ucf", "title": "UCF", "unit": "%"},
                {"key": "r", "title": "agree", "unit": "r"},
            ],
            "reference": [{"key": "hmdb", "title": "HMDB"}],
            "rows": [
                {
                    "key": "full", "title": "full|method", "note": "", "paper": {"ucf": 58.4, "hmdb": 26.0},
                    "cells": [
                        cell("ucf", "succeeded", mean=57.25, std=0.35355, n=2, paper=58.4, difference=-1.15),
                        cell("r", "pending", mean=0.5, n=1),
                    ],
                },
                {
                    "key": "none", "title": "none", "note": "not_described", "paper": {},
                    "cells": [cell("ucf", "failed", why="oom"), cell("r", "skipped", of=0, why="lambda 0")],
                },
            ],
            "published": [{"method": "GDT", "setting": "32 x 128²", "numbers": {"ucf": 89.3}, "caveat": "preprint"}],
            "caveats": ["One <b>caveat</b>."],
        }
    ],
}  # fmt: skip

MARKDOWN = """\
## Table 9: 50 % of a & b

|  | UCF (%) | paper | Δ | agree (r) | HMDB (paper) | note |
|---|---:|---:|---:|---:|---:|---|
| full\\|method | 57.2 ± 0.4 | 58.4 | −1.1 | 0.50 (1 of 2, pending) | 26.0 |  |
| none | failed |  |  | – |  | not_described |
| GDT |  | 89.3 |  |  |  | 32 x 128²; preprint |

- Ours: mean ± standard deviation over the seeds 0, 1.
- none: lambda 0.
- none: oom.
- One &lt;b>caveat&lt;/b>.
"""

LATEX = r"""% \usepackage{booktabs}
\begin{table}
  \caption{Table 9: 50 \% of a \& b. Ours: mean $\pm$ standard deviation over the seeds 0, 1. none: lambda 0. none: oom. One <b>caveat</b>.}
  \begin{tabular}{lrrrrrl}
  \toprule
   & UCF (\%) & paper & $\Delta$ & agree (r) & HMDB (paper) & note \\
  \midrule
  full|method & 57.2 $\pm$ 0.4 & 58.4 & $-$1.1 & 0.50 (1 of 2, pending) & 26.0 &  \\
  none & failed &  &  & – &  & not\_described \\
  \midrule
  GDT &  & 89.3 &  &  &  & 32 x 128$^2$; preprint \\
  \bottomrule
  \end{tabular}
\end{table}
"""  # noqa: E501 a caption is one line


def test_markdown_is_a_table_with_its_notes() -> None:
    assert markdown(VIEW) == MARKDOWN


def test_latex_escapes_what_means_something_there() -> None:
    assert latex(VIEW) == LATEX


def test_records_hold_every_number_once_with_where_it_is_from() -> None:
    rows = [dict(zip(RECORD, record, strict=True)) for record in records(VIEW)]
    assert [(row["source"], row["row"], row["column"], row["mean"], row["paper"]) for row in rows] == [
        ("ours", "full", "ucf", 57.25, 58.4),
        ("ours", "full", "r", 0.5, None),
        ("paper", "full", "hmdb", None, 26.0),
        ("ours", "none", "ucf", None, None),
        ("ours", "none", "r", None, None),
        ("published", "GDT", "ucf", None, 89.3),
    ]
    assert (rows[0]["std"], rows[0]["n"], rows[0]["of"], rows[0]["difference"]) == (0.3535, 2, 2, -1.15)
    assert (rows[3]["state"], rows[3]["note"]) == ("failed", "oom; not_described")
    assert rows[5]["note"] == "32 x 128²; preprint"


def test_a_cell_says_how_much_of_it_is_there() -> None:
    assert cell_text(cell("x", "pending"), "%") == "pending"
    assert cell_text(cell("x", "failed", mean=57.9, n=1), "%") == "57.9 (1 of 2, failed)"
    assert cell_text(cell("x", "succeeded", mean=57.9, n=1, of=1), "%") == "57.9"
