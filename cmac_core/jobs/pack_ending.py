"""What a pack leaves besides its dataset, and tells: the list of files left out, the data report, its numbers."""

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmac_core.data.dataset_writer import replace_file
from cmac_core.data.manifest import QUARANTINE, Clip, Quarantined, Summary
from cmac_core.data.pack_report import REPORT, Pace, class_column, counts_of, spreads_of
from cmac_core.data.samples import chosen, write_sample
from cmac_core.events import DatasetMade, Result, Value
from cmac_core.specs import Pack
from cmac_core.training.run import Run

PICTURE = "pack-report.png"


def announce(
    spec: Pack,
    output: Path,
    clips: Sequence[Clip],
    quarantined: Sequence[Quarantined],
    pace: Pace,
    shards: Sequence[Path],
    summary: Summary | None,
    run: Run,
) -> None:
    """Write the report, and tell of it, of what was left out, and (unless this is a shard) of the dataset."""
    counts, spreads = counts_of(clips, quarantined), spreads_of(clips)
    reasons: dict[str, int] = dict(Counter(str(one.reason) for one in quarantined).most_common())
    report = {
        "summary": None if summary is None else summary.model_dump(mode="json"),
        "shard": None if spec.shard is None else spec.shard.model_dump(),
        "files": counts,
        "quarantined": reasons,
        "throughput": pace.told(),
        "shards": [_throughput(folder) for folder in shards],
        **spreads,
    }
    replace_file(output / REPORT, json.dumps(report, indent=2).encode() + b"\n")
    _keep(run, output, reasons)
    if clips:
        _draw(run, spec, counts, spreads)
    values = [Value(name=name, value=count, unit="files", n=counts["listed"]) for name, count in counts.items()]
    values += [Value(name="hours", value=sum(clip.duration_s for clip in clips) / 3600, unit="h", n=len(clips))]
    values += [
        Value(name=name, value=rate, unit=unit, n=pace.files)
        for name, unit in (("files_per_s", "files/s"), ("media_s_per_s", "s/s"))
        if (rate := pace.told().get(name)) is not None
    ]
    run.emit(Result(values=tuple(values), protocol=_protocol(spec)))
    if summary is not None:
        _keep_samples(run, output, clips, class_column(spreads))
        run.emit(_made(output, summary))


def listed(reasons: Mapping[str, int]) -> str:
    """Counts in words."""
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())


def _keep(run: Run, output: Path, reasons: dict[str, int]) -> None:
    artifacts = run.folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    for name in (QUARANTINE, REPORT):
        shutil.copyfile(output / name, artifacts / name)
    run.artifact(QUARANTINE, "quarantine", "application/x-ndjson", artifacts / QUARANTINE, {"reasons": reasons})
    run.artifact(REPORT, "table", "application/json", artifacts / REPORT)


def _draw(run: Run, spec: Pack, counts: Mapping[str, int], spreads: Mapping[str, Any]) -> None:
    from cmac_core.data.report_picture import draw_report  # slow to import, and needed once

    path = run.folder / "artifacts" / PICTURE
    share = f", shard {spec.shard.index + 1} of {spec.shard.of}" if spec.shard else ""
    draw_report(path, f"{spec.dataset}{share}: {counts['packed']} of {counts['listed']} files", counts, spreads)
    run.artifact(PICTURE, "plot", "image/png", path)


def _keep_samples(run: Run, output: Path, clips: Sequence[Clip], column: str | None) -> None:
    """Some clips to look at and listen to; each says which it is and what it is labelled."""
    folder = run.folder / "artifacts" / "samples"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shown = chosen(clips, column)
    for number, clip in enumerate(shown):
        path = folder / f"{number:02}.mp4"
        write_sample(output / clip.path, path)
        media_type = "video/mp4" if clip.frames else "audio/mp4"
        run.artifact(f"samples/{path.name}", "sample", media_type, path, {"clip": clip.id, "labels": clip.labels})
        run.progress("samples", number + 1, len(shown), "clips")


def _throughput(folder: Path) -> dict[str, Any] | None:
    """How fast a shard went, by its own report; None when it left none."""
    try:
        report = json.loads((folder / REPORT).read_bytes())
    except FileNotFoundError:
        return None
    return {"shard": report["shard"], **report["throughput"]}


def _protocol(spec: Pack) -> dict[str, Any]:
    names = {"layout", "media", "short_side", "gop", "crf", "max_seconds", "shard"}
    return spec.model_dump(mode="json", include=names, exclude_none=True)


def _made(output: Path, summary: Summary) -> DatasetMade:
    told = {"manifest_sha256", "clips", "quarantined", "hours", "bytes", "media", "with_audio", "labels", "counts"}
    return DatasetMade(path=str(output), **summary.model_dump(include=told))
