"""One choice at a time around the variant that localises: train, evaluate and tabulate, without the service.

`python -m benchmarks.choices --seeds 0 1 2` goes on where it was stopped: each run is a line of a file, and a line
that is there is not run again. Every run has the same clips, passes and seed of the corpus, in fp32, on one thread or
on the GPU, which `--processes` share. The table goes into docs/RESULTS.md.
"""

import argparse
import json
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import torch

from benchmarks.document import write_part
from cmac_core.__main__ import main as run_job
from cmac_core.events import Result, Saved, read
from cmac_core.specs.presets import merged

RESULTS = Path(__file__).parent / "results"
EPOCHS = 16
BASE: dict[str, Any] = {"preset": "mutual", "scale": "small", "precision": "fp32"}
CHOICES: dict[str, dict[str, Any]] = {
    "mutual": {},
    "target stops": {"pcf": {"target_grad": "stop"}},
    "lambda 0": {"loss": {"lambda_ac": 0, "ramp": None}},
    "paper": {"preset": "paper"},
    "target to kappa": {"pcf": {"target_grad": "kappa"}},
    "shared head": {"model": {"head": {"shared": True}}},
    "filter space": {"pcf": {"space": "filter"}},
    "head without bias": {"model": {"head": {"bias": False}}},
    "not centered": {"pcf": {"center": "none"}},
    "running center": {"pcf": {"center": "ema"}},
    "L_ac mean": {"loss": {"ac_reduction": "mean"}},
    "L_ac per modality": {"loss": {"ac_reduction": "per_modality"}},
    "no ramp": {"loss": {"ramp": None}},
    "ramp by passes": {"loss": {"ramp": {"by": "train_epoch", "start": 1, "end": 3}}},
    "share of L_cl": {"loss": {"ramp": None, "ac_share": 0.1}},
    "1 scale": {"pcf": {"scales": 1}},
    "3 scales": {"pcf": {"scales": 3}},
    "within-modal negatives": {"contrastive": {"wi_neg": True}},
    "lambda 3": {"loss": {"lambda_ac": 3}},
    "lambda .75": {"loss": {"lambda_ac": 0.75}},
    "lambda .5": {"loss": {"lambda_ac": 0.5}},
    "tau .2": {"contrastive": {"tau": 0.2}},
    "queue alone": {"moco": {"inbatch_negatives": False}},
    "groups of 8": {"model": {"bn_group": 8}},
    "groups of 8, lambda 0": {"model": {"bn_group": 8}, "loss": {"lambda_ac": 0, "ramp": None}},
    "constant rate": {"optim": {"schedule": "constant"}},
    "lr .006": {"optim": {"lr": 0.006}},
    "lr .004": {"optim": {"lr": 0.004}},  # the default before, and what was scored by equal shares had it
    "lr .002": {"optim": {"lr": 0.002}},
    "2 stages, width 16, lambda .25": {"model": {"stages": 2, "width": 16}, "loss": {"lambda_ac": 0.25}},
}
# Title, job, modality, value, and the controls from which the value must keep its distance.
COLUMNS: tuple[tuple[str, str, str, str, tuple[str, ...]], ...] = (
    ("video R@1", "retrieval", "video", "r@1", ()),
    ("probe video", "probe-video", "video", "accuracy", ()),
    ("probe audio", "probe-audio", "audio", "accuracy", ()),
    *(
        (f"{short} {name}", "attention", modality, f"{score}_{name}", controls)
        for modality, other, blind in (("video", "s_other_sound", "motion"), ("audio", "s_other_picture", "energy"))
        for score, short in (("pointing", f"points {modality}"), ("iou", f"IoU {modality}"))
        for name, controls in (
            ("s", (f"{score}_{other}", f"{score}_{blind}")),
            ("s_hat", (f"{score}_s_hat_untrained_head", f"{score}_{blind}")),
        )
    ),
    ("points frequency s", "attention", "audio", "pointing_frequency_s", ("pointing_frequency_energy",)),
    ("points frequency s_hat", "attention", "audio", "pointing_frequency_s_hat", ("pointing_frequency_energy",)),
)
EVALUATIONS: dict[str, dict[str, Any]] = {
    "retrieval": {"kind": "retrieval", "pool": ["gap"]},
    "probe-video": {"kind": "probe", "modality": "video"},
    "probe-audio": {"kind": "probe", "modality": "audio"},
    "attention": {"kind": "attention", "where": {"split": "test"}, "limit": 1},
}


class Setting(NamedTuple):
    """What all compared runs have in common."""

    grade: str
    clips: int
    epochs: int
    cells: str = "receptive fields"  # where those of a map are taken to stand; lines from before that have none
    peaks: str = "between cells"  # where a map points; lines from before that have none, and mean a cell's place

    @property
    def part(self) -> str:
        """Where its table stands in the document."""
        return f"choices, {self.grade}" + ("" if self.epochs == EPOCHS else f", {self.epochs} passes")


def main() -> None:
    """Run what is missing, then write the table of all lines with this setting."""
    parser = argparse.ArgumentParser(prog="benchmarks.choices", description=__doc__)
    parser.add_argument("--only", nargs="*", choices=CHOICES, default=list(CHOICES), help="choices to run")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--grade", choices=["easy", "middle", "hard"], default="middle")
    parser.add_argument("--clips", type=int, default=1250, help="of the corpus; four fifths train")
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of choices.jsonl")
    parser.add_argument("--out", type=Path, default=Path("docs/RESULTS.md"), help="document that the table goes into")
    parser.add_argument("--work", type=Path, default=Path(".cmac/choices"), help="folder of the corpus and of runs")
    parser.add_argument("--processes", type=int, default=1, help="runs side by side")
    options = parser.parse_args()
    setting = Setting(options.grade, options.clips, options.epochs)
    options.results.mkdir(parents=True, exist_ok=True)
    lines = options.results / "choices.jsonl"
    done = {(line["choice"], line["seed"]) for line in written(lines, setting)}
    missing = [(choice, seed) for seed in options.seeds for choice in options.only if (choice, seed) not in done]
    for line in measured(missing, setting, options.work, options.processes) if missing else ():
        append(lines, line)
        write_part(options.out, setting.part, table(written(lines, setting), setting))
    write_part(options.out, setting.part, table(written(lines, setting), setting))
    print(table(written(lines, setting), setting))


def written(lines: Path, setting: Setting) -> list[dict[str, Any]]:
    """The lines of this setting; a line that a stop cut short is left out."""
    whole = lines.read_text().splitlines(keepends=True) if lines.exists() else []
    rows = [json.loads(line) for line in whole if line.endswith("}}\n")]
    return [row for row in rows if row["setting"] == setting._asdict()]


def append(lines: Path, line: dict[str, Any]) -> None:
    """Add a line, on its own even after one that a stop cut short."""
    cut = lines.exists() and not lines.read_text().endswith("\n")
    with lines.open("a") as file:
        file.write(("\n" if cut else "") + json.dumps(line) + "\n")


def measured(
    runs: Sequence[tuple[str, int]], setting: Setting, folder: Path, processes: int
) -> Iterator[dict[str, Any]]:
    """The line of every choice with its seed, as they end; `processes` at a time."""
    os.environ["OMP_NUM_THREADS"] = "1"  # before a child loads torch
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        dataset = pool.submit(corpus, setting, folder, processes).result()
        for run in as_completed([pool.submit(measure, *run, setting, dataset, folder) for run in runs]):
            yield run.result()


def measure(choice: str, seed: int, setting: Setting, dataset: Path, folder: Path) -> dict[str, Any]:
    """Train with a choice and evaluate it: one line. The work is removed when it is done."""
    work = folder / "work" / f"{choice.replace(' ', '-')}-{seed}"
    shutil.rmtree(work, ignore_errors=True)
    body = merged(BASE, CHOICES[choice])
    own = {"kind": "pretrain", "where": {"split": "train"}, "optim": {"epochs": setting.epochs}}
    began = time.monotonic()
    events = executed(work / "pretrain", merged(body, own), seed, {"dataset": dataset})
    seconds = time.monotonic() - began
    saved = [event for event in events if isinstance(event, Saved)][-1]
    checkpoint = work / "pretrain" / "run" / saved.path
    inputs = {"dataset": dataset, "checkpoint": checkpoint, "cache": folder / "features"}
    values: dict[str, float] = {}
    for name, evaluation in EVALUATIONS.items():
        body = {**evaluation, "scale": "small", "precision": "fp32", "checkpoint": {"id": str(UUID(int=seed))}}
        values |= numbers(name, executed(work / name, body, seed, inputs))
    shutil.rmtree(work)
    took = {"train_s": round(seconds), "all_s": round(time.monotonic() - began), "device": device()}
    return {"choice": choice, "seed": seed, "setting": setting._asdict(), **took, "values": values}


def numbers(job: str, events: Sequence[Any]) -> dict[str, float]:
    """A result's values by `job/modality/name`."""
    (result,) = [event for event in events if isinstance(event, Result)]
    found = {f"{job}/{value.modality or 'video'}/{value.name}": value for value in result.values}
    untrained = {
        f"{name}/random_init": value.random_init for name, value in found.items() if value.random_init is not None
    }
    return {name: value.value for name, value in found.items()} | untrained


def corpus(setting: Setting, folder: Path, workers: int) -> Path:
    """The packed corpus of the setting, made once."""
    place = folder / f"corpus-{setting.grade}-{setting.clips}"
    if not (place / "done").exists():
        source = {"generate": "sounding-objects", "grade": setting.grade, "clips": setting.clips}
        executed(place, {"kind": "pack", "source": source, "workers": workers}, 0, {"output": place / "dataset"})
        (place / "done").touch()
    return place / "dataset"


def executed(folder: Path, body: dict[str, Any], seed: int, inputs: dict[str, Path]) -> Sequence[Any]:
    """Run one job in this process: its events. Raises RuntimeError with its last words."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "spec.json").write_text(json.dumps({"dataset": "corpus", "seed": seed, **body}))
    named = {name: {"path": str(path.resolve())} for name, path in inputs.items()}
    (folder / "inputs.json").write_text(json.dumps(named))
    code = run_job([str(folder / "spec.json"), "--run-dir", str(folder / "run")])
    events: Sequence[Any] = read(folder / "run")[0]
    if code:
        raise RuntimeError(f"the job in {folder} ended with {code}: {events[-1]}")
    return events


def device() -> str:
    """What this process trains on."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def table(lines: Sequence[dict[str, Any]], setting: Setting) -> str:
    """Means and spreads over seeds, in Markdown; in brackets the distance from the nearest control."""
    titles = [column[0] for column in COLUMNS]
    rows = [f"Corpus {setting.grade}, {setting.clips} clips, {setting.epochs} passes.", ""]
    rows += [f"| {' | '.join(['choice', 'runs', *titles, 'train s'])} |", f"|{'---|' * (len(titles) + 3)}"]
    for choice in CHOICES:
        own = [line for line in lines if line["choice"] == choice]
        if own:
            cells = [cell([line["values"] for line in own], *column[1:]) for column in COLUMNS]
            rows.append(f"| {' | '.join([choice, str(len(own)), *cells, spent(own)])} |")
    return "\n".join(rows) + "\n"


def spent(lines: Sequence[dict[str, Any]]) -> str:
    """Seconds of training on each kind of device, on average."""
    kinds = sorted({line["device"] for line in lines})
    seconds = {kind: [line["train_s"] for line in lines if line["device"] == kind] for kind in kinds}
    return ", ".join(f"{statistics.mean(own):.0f} {kind}" for kind, own in seconds.items())


def cell(values: Sequence[dict[str, float]], job: str, modality: str, name: str, controls: Sequence[str]) -> str:
    """Mean ± standard deviation over seeds, and how far the mean lies above its best control."""
    there = [one[f"{job}/{modality}/{name}"] for one in values if f"{job}/{modality}/{name}" in one]
    if not there:
        return "–"
    text = f"{statistics.mean(there):.1f}"
    if len(there) > 1:
        text += f" ± {statistics.stdev(there):.1f}"
    known = [
        [one[key] for one in values if key in one] for key in (f"{job}/{modality}/{control}" for control in controls)
    ]
    means = [statistics.mean(one) for one in known if one]
    return f"{text} ({statistics.mean(there) - max(means):+.1f})" if means else text


if __name__ == "__main__":
    main()
