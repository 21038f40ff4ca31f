"""The demonstration: the whole path over the same public interface that everybody has."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Group, RenderableType
from rich.markup import escape

from client import tables
from client.api import Client
from client.commands.datasets import root_of, slug
from client.commands.jobs import follow, submit_all
from client.corpus import CLIPS, pack_generated
from client.errors import BadInput
from client.hints import hint
from client.job import Job
from client.results import Result
from client.standing import clock
from client.terminal import notes

Spec = dict[str, Any]

MEDIA_LIMIT = 6  # clips of which pictures are fetched
_CLIP_PASSES = 16_000  # clips that the training sees in all: what a core does in five minutes
_NO_LABELS = {"split", "fold", "video", "file", "filename", "path", "source", "clip", "id"}
_NAMED_LABELS = ("class", "label", "category")


class Demonstrated(NamedTuple):
    """What a demonstration ends with: a page to read, and the same as plain objects."""

    page: RenderableType
    body: dict[str, Any]


class Demo:
    """Corpus, pack, pretraining and four evaluations; pictures go to `folder`."""

    def __init__(self, lab: Client, folder: Path, *, quiet: bool = False) -> None:
        self._lab, self._folder, self._quiet = lab, folder, quiet

    def run(self, data: Path | None, clips: int | None = None, label: str | None = None) -> Demonstrated:
        """Everything, in order; what to print at the end. Raises what a failing job raises."""
        pack = self._lab.submit(pack_generated(clips or CLIPS) if data is None else self._pack_folder(data))
        self._say(f"1. Packing {'a generated corpus' if data is None else escape(str(data))}")
        follow([pack], quiet=self._quiet)
        made = pack.checked_result()
        dataset = self._dataset_of(pack)
        labels = {"class": 8} if data is None else dict(dataset.get("labels") or {})
        column = label or label_column(labels)
        if column not in labels:
            raise BadInput(f"--label {column}: this dataset has the columns {', '.join(labels) or 'none'}")
        self._say(f"2. Pretraining CMAC on {dataset['clips']} clips, then four evaluations of what it learned")
        specs = training_specs(f"{dataset['name']}@{dataset['version']}", dataset, column)
        jobs = submit_all(self._lab, specs)
        follow(jobs, quiet=self._quiet)
        found = [(job, job.checked_result()) for job in jobs]
        self._say("3. Fetching attention maps")
        files = self._fetch_maps(jobs[-1])
        body = {
            "dataset": f"{dataset['name']}@{dataset['version']}",
            "results": [result.model_dump(mode="json") for _, result in found],
            "files": list(map(str, files)),
        }
        return Demonstrated(Group(*self._report([(pack, made), *found], dataset, column, files)), body)

    def _pack_folder(self, data: Path) -> Spec:
        folder = data.expanduser().resolve()
        if not folder.is_dir():
            raise BadInput(f"--data {data}: no such folder")
        source = {"root": root_of(self._lab, folder), "path": "."}
        return {"kind": "pack", "name": f"pack {slug(folder.name)}", "dataset": slug(folder.name), "source": source}

    def _dataset_of(self, pack: Job) -> Mapping[str, Any]:
        name = str((pack.row.get("spec") or {}).get("dataset") or self._lab.job(pack.id).row["spec"]["dataset"])
        rows = [row for row in self._lab.datasets() if row["name"] == name]
        own = [row for row in rows if str(row.get("job") or row.get("job_id")) == pack.id]
        newest = max(own or rows, key=lambda row: int(row["version"]))
        return self._lab.dataset(f"{newest['name']}@{newest['version']}")

    def _fetch_maps(self, job: Job) -> list[Path]:
        maps = [found for found in job.attention() if found.png or found.mp4]
        clips = sorted({found.clip for found in maps})[:MEDIA_LIMIT]
        return sorted({p for found in maps if found.clip in clips for p in found.save(self._folder, ("png", "mp4"))})

    def _report(
        self, found: list[tuple[Job, Result]], dataset: Mapping[str, Any], column: str, files: list[Path]
    ) -> Iterator[RenderableType]:
        yield summary_table(found[2:])
        yield from _times(job for job, _ in found)
        pictures = [file for file in files if file.suffix == ".png"]
        films = [file for file in files if file.suffix == ".mp4"]
        yield f"{len(pictures)} overlays and {len(films)} films with sound in {escape(str(self._folder))}, for example"
        for file in pictures[:3] + films[:2]:
            yield f"  {escape(str(file))}"
        yield f"Dataset {dataset['name']}@{dataset['version']}, evaluated by {column}. Go on from here:"
        yield f"  {escape(hint(f'results {found[2][0].id[:8]}'))}"
        yield f"  {escape(hint('jobs'))}"
        yield f"The service goes on at [bold]{self._lab.url}[/]. Stop it with"
        yield f"  {escape(hint('down'))}"

    def _say(self, text: str) -> None:
        if not self._quiet:
            notes().print(f"[bold]{text}[/]")


def training_specs(dataset: str, row: Mapping[str, Any], column: str) -> list[Spec]:
    """A small pretraining and, by its name, the four evaluations that wait for it."""
    clips = int(row["clips"])
    epochs = max(3, min(40, round(_CLIP_PASSES / clips)))
    split: Spec = {} if "split" in (row.get("labels") or {}) else {"seeded": 0.8}
    base = {"dataset": dataset, "scale": "small"}
    train: Spec = {"kind": "pretrain", "name": "cmac", "optim": {"epochs": epochs}, **base}
    if "split" in (row.get("labels") or {}):
        train["where"] = {"split": "train"}  # what is tested on has not been seen, with or without labels
    of = {**base, "checkpoint": {"job": "$cmac"}}
    labelled = {**of, "label": column, "split": split}
    return [
        train,
        {"kind": "retrieval", "name": "retrieval", "k": [1, 5, 10], "pool": ["gap"], **labelled},
        {"kind": "probe", "name": "audio probe", "modality": "audio", **labelled},
        {"kind": "probe", "name": "video probe", "modality": "video", **labelled},
        {"kind": "attention", "name": "attention", "limit": MEDIA_LIMIT, **of},
    ]


def label_column(labels: Mapping[str, int]) -> str:
    """The column to evaluate by: one that says so by its name, else that of the fewest values from 2 to 50."""
    fit = {name: count for name, count in labels.items() if 2 <= count <= 50 and name not in _NO_LABELS}
    for name in _NAMED_LABELS:
        if name in fit:
            return name
    if not fit:
        known = ", ".join(f"{name} ({count} values)" for name, count in labels.items()) or "none"
        raise BadInput(f"no label column with 2 to 50 values to evaluate by; there are: {known}")
    return min(fit, key=lambda name: (fit[name], name))


# What the closing table shows of each evaluation, in a reader's words; `cmac results` has all values.
_SHOWN = {
    ("r@1", "video"): "video retrieval, R@1",
    ("r@5", "video"): "video retrieval, R@5",
    ("accuracy", "audio"): "audio probe, accuracy",
    ("simple_baseline_accuracy", "audio"): "  a simple baseline on log-mel",
    ("accuracy", "video"): "video probe, accuracy",
    ("simple_baseline_accuracy", "video"): "  a simple baseline on small frames",
    ("pointing_s", "video"): "sound points at its object",
    ("pointing_s_other_sound", "video"): "  control: another clip's sound does",
    ("on_silent_resting_s", "video"): "  control: it points at a silent object",
    ("pointing_s_hat", "video"): "video alone points at its object",
    ("pointing_s_hat_untrained_head", "video"): "  control: an untrained head does",
    ("pointing_motion", "video"): "  control: mere motion does",
    ("pointing_frequency_s", "audio"): "picture points at the band that sounds",
    ("pointing_frequency_s_other_picture", "audio"): "  control: another clip's picture does",
    ("correlation_s_s_hat", "video"): "s and its prediction agree, video",
    ("correlation_s_s_hat", "audio"): "s and its prediction agree, audio",
}


def summary_table(found: list[tuple[Job, Result]]) -> RenderableType:
    """Ours beside a randomly initialised encoder and chance; controls are indented below what they control."""
    ours = {(v.name, v.modality): v for _, result in found for v in reversed(result.values) if v.fold is None}
    made = tables.table("", ("ours", "right"), ("95% CI", "right"), ("random init", "right"), ("chance", "right"))
    for key, title in _SHOWN.items():
        if (value := ours.get(key)) is not None:
            numbers = [tables.number(number, value.unit) for number in (value.value, value.random_init, value.chance)]
            made.add_row(title, f"[bold]{numbers[0]}[/]", tables.interval(value), *numbers[1:])
    return made


def _times(jobs: Iterator[Job]) -> Iterator[str]:
    spans = [(job.name, tables.seconds_between(job.refresh().row)) for job in jobs]
    yield "Times: " + ", ".join(f"{name} {clock(seconds)}" for name, seconds in spans)
