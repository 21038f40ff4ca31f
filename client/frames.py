"""Answers as pandas frames, where pandas is installed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cmac_core.experiments.text_tables import RECORD, records

if TYPE_CHECKING:
    import pandas

Row = Mapping[str, Any]


def frame(rows: Iterable[Row], columns: Sequence[str] | None = None) -> "pandas.DataFrame":
    """One line a row, also of none. Raises ImportError, which says what to install."""
    try:
        import pandas
    except ImportError as error:
        raise ImportError("frames need pandas: pip install 'cmac-lab[frames]', or pip install pandas") from error
    return pandas.DataFrame(list(rows), columns=None if columns is None else list(columns))


def points(series: Iterable[Row], x: str) -> "pandas.DataFrame":
    """Curves as columns name, `x`, value, low and high; of a thinned curve a point stands for a bucket."""
    columns = ("name", x, "value", "low", "high")
    lines = (
        dict(zip(columns, (one["name"], *point), strict=True))
        for one in series
        for point in zip(one["x"], one["y"], one["min"], one["max"], strict=True)
    )
    return frame(lines, columns)


def cells(view: Row) -> "pandas.DataFrame":
    """An experiment's tables as one record a number: ours, the paper's, and those of others."""
    return frame((dict(zip(RECORD, record, strict=True)) for record in records(view)), RECORD)
