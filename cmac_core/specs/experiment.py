"""An experiment: a table or figure of the paper, or a grid of one's own, that expands into jobs (METHOD 8, API 2.3)."""

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from cmac_core.specs.base import Spec
from cmac_core.specs.placement import Queue, Resources
from cmac_core.specs.presets import DEFAULT_PRESET
from cmac_core.specs.references import DatasetName

Recipe = Literal["table-1", "figure-4", "table-2", "table-3", "table-4", "table-5", "table-6", "figure-5", "all"]
Key = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.=,+-]{0,127}$")]
Path = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*$", max_length=200)]
Seed = Annotated[int, Field(ge=0, le=2**53 - 1)]
GENERATED = "demo"  # the corpus that `cmac demo` makes


class Datasets(Spec):
    """Which packed dataset plays which part of the paper; what is not given takes `dataset`, else its own name."""

    pretrain: DatasetName | None = Field(None, description="Default at the paper's scale: kinetics400.")
    ucf101: DatasetName | None = None
    hmdb51: DatasetName | None = None
    esc50: DatasetName | None = None
    dcase2013: DatasetName | None = None
    dcase2014: DatasetName | None = None


class GridRow(Spec):
    """One row of a grid of one's own: what is changed over `base`."""

    key: Key
    set: dict[Path, Any] = Field({}, description="Fields of the base, by their path.")
    random_init: bool = Field(False, description="No training: `then` looks at encoders as initialized.")


class Then(Spec):
    """An evaluation of every row; it waits for the row's pretraining."""

    key: Key
    spec: dict[str, Any] = Field(description="As for POST /jobs, without its checkpoint.")
    value: str | None = Field(None, description="Name of the result's value to show; without one the kind's first.")


class Experiment(Spec):
    """Either `recipe`, or `base` with `rows` or `grid` and `then`. Every row is run once for each seed."""

    kind: Literal["experiment"] = "experiment"
    name: str = Field("", max_length=200)
    recipe: Recipe | None = Field(None, description="A table or figure of the paper.")
    scale: Literal["paper", "small"] = Field(
        "paper",
        description="paper: 50 train_epochs for ablations, 200 for main results; small: two cores. Default: as base.",
    )
    preset: str = Field(
        "paper",
        description="The method's variant, as in a pretrain spec. Default: mutual, as of a pretraining; of a recipe at "
        "the paper's scale the paper's.",
    )
    seeds: tuple[Seed, ...] = Field((0,), min_length=1, max_length=100)
    dataset: DatasetName | None = Field(None, description="One dataset for every part, as the generated corpus is.")
    datasets: Datasets = Datasets()
    set: dict[Path, Any] = Field(
        {}, description="Fields of every pretraining (optim.epochs), or of a kind of evaluation (probe.n_clips)."
    )
    base: dict[str, Any] | None = Field(None, description="The spec that rows or grid change.")
    rows: tuple[GridRow, ...] = ()
    grid: dict[Path, tuple[Any, ...]] = Field({}, description="Values for each field; every combination is a row.")
    then: tuple[Then, ...] = ()
    resources: Resources = Field(Resources(), description="Of each pretraining.")
    queue: Queue = Field(Queue(), description="Of every job.")

    @model_validator(mode="before")
    @classmethod
    def _dials_of_what_is_run(cls, body: object) -> object:
        if not isinstance(body, dict):
            return body
        if body.get("preset") == "small":
            return {**body, "preset": "paper", "scale": "small"}
        base = body.get("base")
        if isinstance(base, dict) and "small" in (base.get("scale"), base.get("preset")) and "scale" not in body:
            body = {**body, "scale": "small"}  # what is trained small is evaluated small
        papers_own = body.get("recipe") is not None and body.get("scale") != "small"
        return body if "preset" in body or papers_own else {**body, "preset": DEFAULT_PRESET}

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        twice = sorted({seed for seed in seeds if seeds.count(seed) > 1})
        if twice:
            raise ValueError(f"{twice[0]} stands twice; each seed is run once")
        return seeds

    def dataset_of(self, part: str) -> str:
        """The dataset that plays a part ("pretrain", "ucf101", ...)."""
        given: str | None = getattr(self.datasets, part) or self.dataset
        if given is not None:
            return given
        if self.scale == "small":  # one corpus serves all
            return self.datasets.pretrain or GENERATED
        return "kinetics400" if part == "pretrain" else part

    def dataset_pointer(self, part: str) -> str:
        """Where in the request that dataset is, or would be, named."""
        if getattr(self.datasets, part) is None and (self.dataset is not None or self.scale == "small"):
            return "/dataset"
        return f"/datasets/{part}"
