"""The main job on real recordings, through the API of a running service; writes docs/RESULTS.md.

make up && make results DATA=../shared/data
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from benchmarks.document import write_part
from client import Client
from client.errors import JobFailed
from client.job import Job
from client.results import Result, Value

SMALL = {"scale": "small"}
ESC50 = {"path": "meta/esc50.csv", "file": "filename", "folder": "audio", "by_stem": True}

PACKS: dict[str, dict[str, Any]] = {
    "vizdoom": {"source": {"path": "vizdoom"}},
    "grid": {"source": {"path": "grid"}},
    "drone": {"source": {"path": "drone"}},
    "esc50": {"source": {"path": "esc50"}, "media": "audio", "table": ESC50, "allow_missing": True},
    "kinetics": {"source": {"path": "files/kinetics400"}},
}

PRETRAININGS: dict[str, dict[str, Any]] = {
    "vizdoom": {"dataset": "vizdoom", "where": {"split": "train"}, "optim": {"epochs": 20}},
    "grid": {"dataset": "grid", "optim": {"epochs": 8}},
}

BY_COLUMN: dict[str, Any] = {"column": "split"}
SEEDED: dict[str, Any] = {"seeded": 0.8}


@dataclass(frozen=True)
class Row:
    """One evaluation of the table."""

    title: str
    pretraining: str
    spec: dict[str, Any] = field(default_factory=dict)


def rows() -> Iterator[Row]:
    """Every evaluation, by the pretraining that it judges."""
    for name in PRETRAININGS:
        yield Row(
            "ESC-10 audio probe, official folds", name, _probe("audio", "esc50", "target", {"folds": "fold"}, ESC10)
        )
        for dataset in ("vizdoom", "drone"):
            yield Row(f"{dataset} video probe", name, _probe("video", dataset, "class", BY_COLUMN))
            retrieval = {"kind": "retrieval", "dataset": dataset, "label": "class", "split": BY_COLUMN}
            yield Row(f"{dataset} retrieval", name, retrieval)
        yield Row("attention maps, 3 Kinetics clips", name, {"kind": "attention", "dataset": "kinetics"})
    yield Row("vizdoom audio probe", "vizdoom", _probe("audio", "vizdoom", "class", BY_COLUMN))
    tuned = {"kind": "finetune", "dataset": "drone", "label": "class", "split": BY_COLUMN}
    yield Row("drone fine-tuning", "vizdoom", tuned)
    yield Row("drone fine-tuning from a random start", "vizdoom", {**tuned, "checkpoint": {"random_init": True}})
    for word in ("command", "adverb", "digit"):
        yield Row(f"GRID {word} audio probe", "grid", _probe("audio", "grid", word, SEEDED))


ESC10 = {"esc10": "True"}


def _probe(
    modality: str, dataset: str, label: str, split: dict[str, Any], where: dict[str, str] | None = None
) -> dict[str, Any]:
    spec: dict[str, Any] = {"kind": "probe", "modality": modality, "dataset": dataset, "label": label, "split": split}
    return spec | ({"where": where} if where else {})


def submit(lab: Client, name: str, seed: int) -> tuple[Job, list[tuple[Row, Job]]]:
    """One pretraining and all that waits for it."""
    base = {"kind": "pretrain", "name": f"{name} seed {seed}", "seed": seed, **SMALL}
    pretraining = lab.submit(base | PRETRAININGS[name])
    after = {"checkpoint": {"job": pretraining.id}, "seed": seed, **SMALL}
    mine = [row for row in rows() if row.pretraining == name]
    return pretraining, [(row, lab.submit({"name": row.title, **after, **row.spec})) for row in mine]


def main() -> None:
    """Pack, pretrain, evaluate, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with vizdoom/, grid/, drone/, esc50/, files/")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, default=Path("docs/RESULTS.md"))
    options = parser.parse_args()
    lab, start = Client(), time.monotonic()
    root = f"recordings-{int(time.time())}"
    lab.add_root(root, str(options.data.resolve()))
    packs = {}
    for name, body in PACKS.items():
        source = body["source"] | {"root": root}
        packs[name] = lab.submit({"kind": "pack", "dataset": name, **body, "source": source})
    for name, job in packs.items():
        job.wait()
        print(f"packed {name} in {seconds(job):.0f} s")
    runs = [submit(lab, name, seed) for seed in options.seeds for name in PRETRAININGS]
    for pretraining, evaluations in runs:
        for title, job in [("pretraining", pretraining), *((row.title, job) for row, job in evaluations)]:
            try:
                job.wait()
                print(f"{pretraining.name}: {title} took {seconds(job):.0f} s")
            except JobFailed as failed:
                print(f"{pretraining.name}: {title} failed: {failed}")
    write_part(options.out, "recordings", report(lab, packs, runs, time.monotonic() - start))
    print(f"wrote {options.out}")


def seconds(job: Job) -> float:
    """From submission to end: waiting in the queue counts."""
    submitted, ended = (datetime.fromisoformat(job.row[key]) for key in ("submitted_at", "ended_at"))
    return (ended - submitted).total_seconds()


def report(lab: Client, packs: dict[str, Job], runs: list[tuple[Job, list[tuple[Row, Job]]]], wall_s: float) -> str:
    """The document: what was packed, what was trained, and each number beside its controls."""
    lines = [HEAD, "### Packed", "", "| dataset | clips | quarantined | hours | with sound |", "|---|---|---|---|---|"]
    for name in packs:
        made = lab.dataset(name)
        cells = (f"{name}@{made['version']}", made["clips"], made.get("quarantined", ""), f"{made['hours']:.2f}")
        lines.append("| " + " | ".join(map(str, (*cells, made.get("with_audio", "")))) + " |")
    for pretraining, evaluations in runs:
        spec = pretraining.refresh().row["spec"]
        lines += ["", f"### Pretrained on {spec['dataset']}, seed {spec['seed']}", "", settings(pretraining)]
        lines += ["", TABLE, "|---|---|---|---|---|---|---|"]
        for row, job in evaluations:
            lines += table(row.title, job.result())
    lines += ["", f"Everything above took {wall_s / 60:.0f} minutes of wall time on one machine.", ""]
    return "\n".join(lines)


HEAD = """## Real recordings

Written by `make results` (benchmarks/real_media.py) over the API of a running service. These are small trainings on
two CPU cores (width 8, depth 1, 3 stages, 8 frames of 64 pixels at 8 fps, one second of sound): they show that the
whole path works and what it gives at this size, not what CMAC gives at the paper's. A *simple baseline* is logistic
regression on the mean and standard deviation of log-mel bands, or on 32x24 frames; it knows nothing of pretraining,
and where it wins, it wins. ViZDoom is pretrained on its train split alone; GRID has no official split, so its
pretraining has seen the clips (not the words) of the seeded test share.
"""
TABLE = "| evaluation | value | n | 95 % interval | random init | chance | simple baseline |"


def settings(job: Job) -> str:
    """The settings of a pretraining in a sentence, with what it reached."""
    spec, result = job.row["spec"], job.result()
    optim = spec["optim"]
    text = (
        f"`preset: {spec['preset']}`, `scale: {spec['scale']}`, {optim['epochs']} passes, batch {optim['batch']}, "
        f"lr {optim['lr']}, K {spec['moco']['K']}, {seconds(job):.0f} s from submission to end."
    )
    values = ", ".join(f"{value.name} {value.value:.4g}" for value in result.values)
    return f"{text} At its end: {values}."


def table(title: str, result: Result) -> list[str]:
    """The rows of one evaluation."""
    simple = {json.dumps(v.labels): v for v in result.values if v.name == "simple_baseline_accuracy"}
    hidden = ("simple_baseline", "class", "window", "seconds", "clips_per_s")
    kept = (v for v in result.values if not any(word in v.name for word in hidden))
    shown = [v for v in kept if not v.fold and v.labels.get("split") != "train"]
    lines = [_line(title, value, next(iter(simple.values()), None)) for value in shown]
    return lines or [f"| {title} | {result.state} | | | | | |"]


def _line(title: str, value: Value, simple: Value | None) -> str:
    labels = " ".join(v for k, v in value.labels.items() if k not in ("seed", "selection"))
    interval = "" if value.ci_low is None else f"{value.ci_low:.1f} to {value.ci_high:.1f}"
    other = ("" if x is None else f"{x:.1f}" for x in (value.random_init, value.chance))
    beside = f"{simple.value:.1f}" if simple is not None and value.name == "accuracy" else ""
    name = f"{title}: {value.name} {labels}".strip()
    return "| " + " | ".join((name, f"{value.value:.1f} {value.unit}", str(value.n), interval, *other, beside)) + " |"


if __name__ == "__main__":
    main()
