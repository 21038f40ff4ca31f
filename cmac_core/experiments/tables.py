"""What an experiment will show: rows, their evaluations, and the columns that these fill."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cmac_core.experiments.drafts import Draft
from cmac_core.experiments.paper import Published


@dataclass(frozen=True)
class Measure:
    """Which value of a result stands in a column; of several that fit the first, over all folds."""

    name: str
    modality: str | None = None
    pool: str | None = None


@dataclass(frozen=True)
class Column:
    """One measured number of every row. `evaluation` "": of the row's own job."""

    key: str
    title: str
    evaluation: str
    measure: Measure
    unit: str = "%"


@dataclass(frozen=True)
class Evaluation:
    """A job below every row, or one for each part (official splits): a column is then the mean over parts."""

    key: str
    parts: Mapping[str, Draft]


@dataclass(frozen=True)
class Row:
    """One line: a pretraining (or other job) and what the paper prints. `draft` None: encoders as initialized."""

    key: str
    title: str
    draft: Draft | None
    numbers: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    x: float | None = None


@dataclass(frozen=True)
class Table:
    """A table before it is filled. `paper`: columns of the paper by key; those that `columns` lack are only shown."""

    key: str
    title: str
    rows: tuple[Row, ...]
    evaluations: tuple[Evaluation, ...]
    columns: tuple[Column, ...]
    paper: Mapping[str, str] = field(default_factory=dict)
    published: tuple[Published, ...] = ()
    caveats: tuple[str, ...] = ()
    x: str = ""
