"""How clips are divided into training and test data."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from cmac_core.specs.base import Spec


class Split(Spec):
    """By a column (the default), by the folds of a column, or seeded, keeping groups together."""

    column: str | None = None
    train: str = "train"
    test: str = "test"
    folds: str | None = Field(None, description="Column of folds: each is the test set once.")
    seeded: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, description="Share of training clips.")
    group: str | None = Field(None, description="Clips of equal value in this column stay together (seeded only).")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [name for name in ("column", "folds", "seeded") if getattr(self, name) is not None]
        if len(ways) > 1:
            raise ValueError(f"give one of column, folds and seeded, not {' and '.join(ways)}")
        if self.group is not None and self.seeded is None:
            raise ValueError("group: goes with seeded only")
        return self

    @property
    def by_column(self) -> str | None:
        """The column of train and test marks, when the split is by column."""
        return None if self.folds or self.seeded else self.column or "split"
