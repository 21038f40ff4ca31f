"""A small generated dataset, a checkpoint trained on it for a moment, and evaluations of both."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmac_core.data.manifest import MANIFEST, read_clips
from cmac_core.events import Artifact, Result, Value, Warned, read
from cmac_core.jobs import attention, finetune, pack, pretrain, probe, retrieval, weights
from cmac_core.specs import JOB_SPEC, Attention, Finetune, Import, JobSpec, Pack, Pretrain, Probe, Retrieval
from cmac_core.training.inputs import Input
from cmac_core.training.ranks import Place, Ranks
from cmac_core.training.run import Run

GEOMETRY = {"frames": 8, "fps": 8, "crop": 48}
MODEL = {"width": 2, "bn_group": 4, "head": {"dim": 8, "shared": False}, "saliency": {"hidden": 4}}


def spec(kind: str, **fields: Any) -> JobSpec:
    """A spec of this kind, small where nothing else is said."""
    base: dict[str, Any] = {"kind": kind, "dataset": "small", "batch": 8, "geometry": GEOMETRY}
    return JOB_SPEC.validate_python({**base, "checkpoint": {"random_init": True, "model": MODEL}, **fields})


def trained(kind: str, **fields: Any) -> JobSpec:
    """The same of a stored checkpoint."""
    return spec(kind, checkpoint={"id": "00000000-0000-0000-0000-000000000001"}, **fields)


def do(folder: Path, spec: JobSpec, **inputs: Path) -> Run:
    """Run a job in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    run = Run(folder, {name: Input(path=path) for name, path in inputs.items()})
    try:
        _do(spec, run)
    finally:
        close(run)
    return run


def _do(spec: JobSpec, run: Run) -> None:
    match spec:
        case Pack():
            pack.run(spec, run)
        case Import():
            weights.run(spec, run)
        case Pretrain():
            pretrain.run(spec, run, Ranks(Place(), run.emit))
        case Retrieval():
            retrieval.run(spec, run)
        case Probe():
            probe.run(spec, run)
        case Attention():
            attention.run(spec, run)
        case Finetune():
            finetune.run(spec, run, Ranks(Place(), run.emit))


def close(run: Run) -> None:
    """A process would close its events at its end; these runs share one."""
    assert run.log is not None
    run.log._file.close()


def result(run: Run) -> Result:
    """The one result of a run."""
    (found,) = [event for event in read(run.folder)[0] if isinstance(event, Result)]
    labels = [(v.name, v.split, v.fold, v.seed, v.pool, v.selection, v.modality) for v in found.values]
    assert len(labels) == len(set(labels)), "two values with the same labels"
    assert all(v.n > 0 for v in found.values)
    return found


def artifacts(run: Run, kind: str) -> list[Artifact]:
    """Files of one kind; all names differ."""
    found = [event for event in read(run.folder)[0] if isinstance(event, Artifact)]
    assert len({one.name for one in found}) == len(found)
    return [one for one in found if one.kind == kind]


def warnings(run: Run) -> dict[str, str]:
    """Messages by code."""
    return {event.code: event.message for event in read(run.folder)[0] if isinstance(event, Warned)}


def named(values: Sequence[Value], name: str, **labels: Any) -> Value:
    """The one value with this name and these labels."""
    (found,) = [v for v in values if v.name == name and all(getattr(v, key) == want for key, want in labels.items())]
    return found


def relabeled(source: Path, target: Path, **changes: Any) -> Path:
    """The same packed files under a changed manifest: `column=function of the clip's number`, or a clip's field."""
    target.mkdir()
    for name in ("clips", "dataset.json", "truth.jsonl"):
        (target / name).symlink_to(source / name)
    rows = []
    for number, clip in enumerate(read_clips(source)):
        row = json.loads(clip.model_dump_json())
        for name, value in changes.items():
            place = row if name in row else row["labels"]
            place[name] = value(number)
            if place[name] is None:
                del place[name]
        rows.append(json.dumps(row) + "\n")
    (target / MANIFEST).write_text("".join(rows))
    return target
