"""A plan's tables as plain JSON: stored with the experiment, so that it reads the same for ever."""

from dataclasses import asdict
from typing import Any

from cmac_core.experiments.expansion import Plan
from cmac_core.experiments.tables import Table

JSON = dict[str, Any]


def outline(plan: Plan) -> JSON:
    """{"tables": [{key, title, x, columns, reference, rows, published, caveats}]}; what has an order is a list."""
    return {"tables": [_table(plan, table) for table in plan.tables]}


def _table(plan: Plan, table: Table) -> JSON:
    measured = {column.key for column in table.columns}
    return {
        "key": table.key,
        "title": table.title,
        "x": table.x,
        "columns": [asdict(column) for column in table.columns],
        # What the paper measures and this table does not: shown, and not compared.
        "reference": [{"key": key, "title": title} for key, title in table.paper.items() if key not in measured],
        "rows": [
            {
                "key": row.key,
                "title": row.title,
                "note": row.note,
                "x": row.x,
                "paper": dict(row.numbers),
                "skipped": {
                    evaluation: why for (at, key, evaluation), why in plan.skipped.items()
                    if (at, key) == (table.key, row.key)
                },
            }
            for row in table.rows
        ],
        "published": [{**one._asdict(), "numbers": dict(one.numbers)} for one in table.published],
        "caveats": list(table.caveats),
    }  # fmt: skip
