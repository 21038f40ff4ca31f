"""Pack: media files in, a dataset out. It resumes, it is idempotent, and no file can stop it."""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from cmac_core.data.corpus import MakeTask, labels_of, make_one, write_tables
from cmac_core.data.crew import Crew, Died
from cmac_core.data.dataset_writer import summarize, write_dataset
from cmac_core.data.duplicates import duplicates_of
from cmac_core.data.journal import JOURNAL, Entry, Journal, fingerprint
from cmac_core.data.manifest import QUARANTINE, Clip, Quarantined, Summary, Truth, read_summary
from cmac_core.data.mel_statistics import mel_statistics
from cmac_core.data.pack_task import NoRoom, Outcome, PackTask, pack_one
from cmac_core.data.packing import Form
from cmac_core.data.sources import Item, list_items
from cmac_core.events import DatasetMade
from cmac_core.specs import Pack, SoundingObjects
from cmac_core.specs.references import OUTPUT, SOURCE
from cmac_core.training.errors import DataError, DiskFull, UserError
from cmac_core.training.run import Run

CLIPS, PARTIAL, REPORT, CORPUS = "clips", ".partial", "pack-report.json", "corpus"
ROOM = "Make room on its disk and start the job again: what is packed stays packed."


class Material(NamedTuple):
    """What is to be packed, what is known of it, and what it was generated from (empty for real files)."""

    items: list[Item]
    truths: list[Truth]
    origin: str


def run(spec: Pack, run: Run) -> None:
    """Pack the source into the output folder and announce the dataset.

    Raises UserError (nothing to pack, a table that does not fit), DataError (nothing could be packed),
    DiskFull, Left (asked to leave; what is packed is kept).
    """
    output = _output(run)
    form = Form(spec.media, spec.short_side, spec.gop, spec.crf, spec.max_seconds)
    try:
        material = _material(spec, run, output)
        with Journal(output) as journal:
            _pack_all(material, form, spec.workers, journal, output, run)
            _finish(spec, material, journal, output, run)
    except NoRoom as error:
        raise DiskFull(f"no room left for packed clips in {output}: {error.strerror}", ROOM) from error


def _output(run: Run) -> Path:
    if OUTPUT not in run.inputs:
        run.input(OUTPUT)  # says what is missing
    output = run.inputs[OUTPUT].path.resolve()
    output.mkdir(parents=True, exist_ok=True)
    ours = {JOURNAL, CLIPS, PARTIAL}
    others = {entry.name for entry in output.iterdir()}
    if others and not others & ours:
        raise UserError(
            f"output: {output} holds other things ({', '.join(sorted(others)[:3])}) and no earlier pack",
            "Give an empty or new folder.",
        )
    return output


def _material(spec: Pack, run: Run, output: Path) -> Material:
    if isinstance(spec.source, SoundingObjects):
        return _generated(spec.source, spec.workers, run)
    source = run.input(SOURCE).resolve()
    if output.is_relative_to(source) or source.is_relative_to(output):
        raise UserError(f"output: {output} and the source {source} lie in one another", "Give a folder elsewhere.")
    try:
        return Material(list_items(source, spec.table, spec.allow_missing), [], "")
    except ValueError as error:
        raise UserError(str(error)) from error


def _generated(spec: SoundingObjects, workers: int, run: Run) -> Material:
    """Write the corpus into the run's folder, as the media files and tables that any other dataset would be."""
    root = run.folder / CORPUS
    labels = labels_of(spec)
    tasks = [MakeTask(spec, number, row["class"], root) for number, row in enumerate(labels)]
    crew: Crew[MakeTask, Truth] = Crew(make_one, min(workers or _cores(), len(tasks)))
    truths = []
    run.progress("generate", 0, len(tasks), "clips")
    for task, truth in crew.run(tasks, lambda: run.leaving):
        if isinstance(truth, Died):
            raise DataError(f"clip {task.number} could not be generated: {truth.how}")
        truths.append(truth)
        run.progress("generate", len(truths), len(tasks), "clips")
    run.leave_if_asked()
    truths.sort(key=lambda truth: truth.id)
    write_tables(labels, truths, root)
    return Material(list_items(root, None, allow_missing=False), truths, spec.model_dump_json())


def _pack_all(material: Material, form: Form, workers: int, journal: Journal, output: Path, run: Run) -> None:
    """Bring every item into the journal. Raises Left when asked to leave before the end."""
    items = material.items
    tasks, done = [], 0
    for task in _tasks(material, form, journal, output):
        if task is None:
            done += 1
        else:
            tasks.append(task)
    run.progress("pack", done, len(items), "files")
    crew: Crew[PackTask, Outcome] = Crew(pack_one, min(workers or _cores(), max(len(tasks), 1)))
    (output / PARTIAL).mkdir(exist_ok=True)
    try:
        for task, answer in crew.run(tasks, lambda: run.leaving):
            journal.add(_entry(task, answer))
            done += 1
            run.progress("pack", done, len(items), "files")
    finally:
        shutil.rmtree(output / PARTIAL)
    run.leave_if_asked()


def _tasks(material: Material, form: Form, journal: Journal, output: Path) -> Iterator[PackTask | None]:
    """A task for each item, None for one that is settled already or needs no work."""
    twins = {} if material.origin else duplicates_of(material.items)
    for number, item in enumerate(material.items):
        mark = fingerprint(item.path, form, material.origin)
        rejected = _rejected_unseen(item, twins)
        if rejected is not None:
            entry = Entry(id=item.id, fingerprint=mark, quarantined=rejected)
            if journal.entries.get(item.id) != entry:
                journal.add(entry)
            yield None
        elif journal.done(item.id, mark):
            yield None
        else:
            path = f"{CLIPS}/{item.id}{'.mkv' if form.media == 'video' else '.mka'}"
            yield PackTask(item, output, path, f"{PARTIAL}/{number}.mkv", form, mark)


def _rejected_unseen(item: Item, twins: dict[str, str]) -> Quarantined | None:
    if item.path is None:
        return Quarantined(source=item.source, reason="missing_file")
    if item.id in twins:
        return Quarantined(source=item.source, reason="duplicate", detail=f"the same bytes as {twins[item.id]}")
    return None


def _entry(task: PackTask, answer: Outcome | Died) -> Entry:
    if isinstance(answer, Died):
        rejected = Quarantined(source=task.item.source, reason="decode_error", detail=answer.how)
        return Entry(id=task.item.id, fingerprint=task.fingerprint, quarantined=rejected)
    if answer.packed is None:
        return Entry(id=task.item.id, fingerprint=task.fingerprint, quarantined=answer.quarantined)
    clip = Clip(
        id=task.item.id,
        path=task.path,
        sha256=answer.sha256,
        bytes=answer.bytes,
        source=task.item.source,
        **answer.packed._asdict(),
    )
    return Entry(id=task.item.id, fingerprint=task.fingerprint, clip=clip)


def _finish(spec: Pack, material: Material, journal: Journal, output: Path, run: Run) -> None:
    """Write the dataset's files, then tell of them."""
    entries = [(item, journal.entries[item.id]) for item in material.items]
    clips = [entry.clip.model_copy(update={"labels": item.labels}) for item, entry in entries if entry.clip]
    quarantined = [entry.quarantined for _, entry in entries if entry.quarantined]
    reasons: dict[str, int] = dict(Counter(str(one.reason) for one in quarantined).most_common())
    if not clips:
        first = f"; the first: {quarantined[0].source}: {quarantined[0].detail or quarantined[0].reason}"
        raise DataError(f"none of {len(entries)} files could be packed: {_listed(reasons)}{first}")
    if quarantined:
        run.warn("quarantined", f"{len(quarantined)} of {len(entries)} files were not packed: {_listed(reasons)}")
    kept = {clip.id for clip in clips}
    truths = sorted((truth for truth in material.truths if truth.id in kept), key=lambda truth: truth.id)
    summary = summarize(spec.media, clips, quarantined)
    summary = summary.model_copy(update=_mel(output, clips, summary, spec.seed, run))
    write_dataset(output, clips, quarantined, truths, summary)
    _drop_strays(output, {clip.path for clip in clips})
    _announce(output, summary, reasons, run)


def _mel(output: Path, clips: list[Clip], summary: Summary, seed: int, run: Run) -> dict[str, float | None]:
    try:
        before = read_summary(output)
    except (FileNotFoundError, ValidationError):
        before = None
    if before is not None and before.manifest_sha256 == summary.manifest_sha256 and before.mel_mean is not None:
        return {"mel_mean": before.mel_mean, "mel_std": before.mel_std}

    def told(done: int, of: int) -> None:
        run.leave_if_asked()
        run.progress("log-mel", done, of, "clips")

    found = mel_statistics(output, clips, seed, told)
    return {} if found is None else {"mel_mean": round(found[0], 6), "mel_std": round(found[1], 6)}


def _drop_strays(output: Path, kept: set[str]) -> None:
    """Clips of an earlier form or of files that are gone."""
    for file in (output / CLIPS).rglob("*"):
        if file.is_file() and file.relative_to(output).as_posix() not in kept:
            file.unlink()


def _announce(output: Path, summary: Summary, reasons: dict[str, int], run: Run) -> None:
    artifacts = run.folder / "artifacts"
    artifacts.mkdir(exist_ok=True)
    shutil.copyfile(output / QUARANTINE, artifacts / QUARANTINE)
    run.artifact(QUARANTINE, "quarantine", "application/x-ndjson", artifacts / QUARANTINE, {"reasons": reasons})
    report = {"summary": summary.model_dump(mode="json"), "quarantined": reasons}
    (artifacts / REPORT).write_text(json.dumps(report, indent=2) + "\n")
    run.artifact(REPORT, "table", "application/json", artifacts / REPORT)
    run.emit(
        DatasetMade(
            path=str(output),
            **summary.model_dump(
                include={"manifest_sha256", "clips", "quarantined", "hours", "bytes", "media", "with_audio"}
                | {"labels", "counts"}
            ),
        )
    )


def _listed(reasons: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count}" for reason, count in reasons.items())


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
