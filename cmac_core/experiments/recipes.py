"""The paper's tables and figures as rows, evaluations and columns (METHOD 8)."""

from collections.abc import Mapping
from typing import Any

from cmac_core.experiments import evaluations, paper
from cmac_core.experiments.drafts import SET, Body, Draft
from cmac_core.experiments.evaluations import Evaluations, changed
from cmac_core.experiments.paper import PaperTable
from cmac_core.experiments.tables import Row, Table
from cmac_core.specs import Resources
from cmac_core.specs.experiment import Experiment

SMALL_CAVEAT = (
    "At scale small these are other measures on another corpus: the paper's numbers stand beside them for the order "
    "of the rows alone."
)


def tables(spec: Experiment) -> tuple[Table, ...]:
    """The tables of a recipe; `all` gives every one of them."""
    keys = tuple(paper.TABLES) if spec.recipe == "all" else (str(spec.recipe),)
    return tuple(_table(spec, paper.TABLES[key]) for key in keys)


def _table(spec: Experiment, source: PaperTable) -> Table:
    found = _small(spec, source) if spec.scale == "small" else _whole(spec, source)
    rows = tuple(
        Row(
            row.key,
            row.title,
            None if row.change is None else pretraining(spec, source, row.change),
            row.numbers,
            row.note,
            row.x,
        )
        for row in source.rows
    )
    caveats = (*source.caveats, SMALL_CAVEAT) if spec.scale == "small" and source.columns else source.caveats
    return Table(
        source.key, source.title, rows, found.jobs, found.columns, source.columns, source.published, caveats, source.x
    )


def _whole(spec: Experiment, source: PaperTable) -> Evaluations:
    match source.key:
        case "table-5":
            return evaluations.retrieved(spec)
        case "table-6":
            return evaluations.heard(spec)
        case "figure-5":
            return evaluations.looked_at(spec)
        case "table-4":
            return evaluations.finetuned(spec, splits=(1, 2, 3), color_jitter=True)
        case _:
            return evaluations.finetuned(spec, splits=(1,), color_jitter=False)


def _small(spec: Experiment, source: PaperTable) -> Evaluations:
    match source.key:
        case "table-5":
            return evaluations.only(evaluations.small(spec, recall=(1, 5, 10)), "retrieval")
        case "table-6":
            return evaluations.only(evaluations.small(spec), "audio_probe")
        case "figure-5":
            found = evaluations.only(evaluations.small(spec, pictures=12), "attention")
            return found._replace(columns=(*found.columns, *evaluations.AGREEMENT))
        case _:
            return evaluations.small(spec)


def pretraining(spec: Experiment, source: PaperTable, change: Mapping[str, Any]) -> Draft:
    """The full method as this table trains it, with `set`, then with what the row changes."""
    body: Body = {"kind": "pretrain", "preset": spec.preset, "dataset": spec.dataset_of("pretrain")}
    if spec.scale == "small":
        # What is tested on has not been seen, with or without its labels.
        body |= {"scale": "small", "where": {"split": "train"}}
        body |= {"data": {"color_jitter": {"on": False}}} if source.ablation else {}
    else:
        body["scale"] = "ablation" if source.ablation else "paper"
    if spec.resources != Resources():
        body["resources"] = spec.resources.model_dump(exclude_none=True)
    draft = Draft(body, SET).named("/dataset", spec.dataset_pointer("pretrain"))
    draft = draft.named("/preset", "/preset").named("/resources", "/resources")
    draft = changed(draft, spec)
    for path, value in change.items():
        draft = draft.put(path, value, SET)
    return draft
