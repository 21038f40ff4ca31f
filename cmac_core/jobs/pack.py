"""Pack: media files in, a dataset out. It resumes, it is idempotent, and no file can stop it.

At scale n jobs pack a shard each and one more merges them: a pack of the same source that takes over what they have.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from cmac_core.data.corpus import MakeTask, labels_of, make_one, write_tables
from cmac_core.data.crew import Crew, Died
from cmac_core.data.dataset_writer import summarize, write_dataset, write_quarantine
from cmac_core.data.duplicates import duplicates_of
from cmac_core.data.journal import JOURNAL, Entry, Journal, fingerprint
from cmac_core.data.layouts.listing import list_source
from cmac_core.data.manifest import Clip, Quarantined, Summary, Truth, read_summary
from cmac_core.data.mel_statistics import mel_statistics
from cmac_core.data.pack_report import Pace
from cmac_core.data.pack_task import NoRoom, Outcome, PackTask, pack_one
from cmac_core.data.packing import Form
from cmac_core.data.shares import share_of
from cmac_core.data.sources import Item, list_items
from cmac_core.data.taking_over import take_over
from cmac_core.jobs.pack_ending import announce, listed
from cmac_core.specs import Pack, SoundingObjects
from cmac_core.specs.references import OUTPUT, PACKED, SOURCE
from cmac_core.training.errors import DataError, DiskFull, UserError
from cmac_core.training.run import Run

CLIPS, PARTIAL, CORPUS = "clips", ".partial", "corpus"
ROOM = "Make room on its disk and start the job again: what is packed stays packed."


class Material(NamedTuple):
    """What is to be packed, of all that is listed; what is known of it; what it was generated from (empty: files)."""

    items: list[Item]
    listed: list[Item]
    truths: list[Truth]
    origin: str


def run(spec: Pack, run: Run) -> None:
    """Pack the source into the output folder and announce the dataset; a shard announces its share alone.

    Raises UserError (nothing to pack, a table that does not fit), DataError (nothing could be packed),
    DiskFull, Left (asked to leave; what is packed is kept).
    """
    output = _output(run)
    form = Form(spec.media, spec.short_side, spec.gop, spec.crf, spec.max_seconds)
    try:
        material = _material(spec, run, output)
        with Journal(output) as journal:
            marks = [fingerprint(item.path, form, material.origin) for item in material.items]
            folders = _take_over(material, marks, journal, run)
            tasks = list(_tasks(material, marks, form, journal, _teller(run, "find copies")))
            if tasks and spec.merge:
                run.warn("not_in_shards", f"{len(tasks)} files are in no shard as they are now; the merge packs them")
            pace = _pack_all(tasks, len(material.items), spec.workers, journal, run)
            _finish(spec, material, journal, pace, folders, run)
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
        items = list_source(source, spec)
    except ValueError as error:
        raise UserError(str(error)) from error
    return Material(share_of(items, spec.shard), items, [], "")


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
    items = list_items(root, None, allow_missing=False)
    return Material(items, items, truths, spec.model_dump_json())


def _take_over(material: Material, marks: Sequence[str], journal: Journal, run: Run) -> list[Path]:
    """Settle what earlier packs have packed; their folders. Raises Left between two files."""
    folders = [run.input(key) for key in run.inputs if key.startswith(PACKED)]
    if folders:
        partial = journal.output / f"{PARTIAL}-link"
        take_over(material.items, marks, folders, journal, partial, _teller(run, "take over"))
    return folders


def _teller(run: Run, phase: str, unit: str = "files") -> Callable[[int, int], None]:
    """Tells how far a phase is. Raises Left when the run was asked to leave."""

    def told(done: int, of: int) -> None:
        run.leave_if_asked()
        run.progress(phase, done, of, unit)

    return told


def _tasks(
    material: Material, marks: Sequence[str], form: Form, journal: Journal, told: Callable[[int, int], None]
) -> Iterator[PackTask]:
    """A task for each item that is not settled and needs work."""
    settled = {item.id: journal.done(item.id, mark) for item, mark in zip(material.items, marks, strict=True)}
    # A copy is one only while its original is there, so it is looked at anew each time.
    unsure = {id for id, entry in settled.items() if entry is None or _is_copy(entry)}
    twins = {} if material.origin else duplicates_of(material.listed, unsure, told)
    for number, (item, mark) in enumerate(zip(material.items, marks, strict=True)):
        rejected = _rejected_unseen(item, twins)
        if rejected is not None:
            entry = Entry(id=item.id, fingerprint=mark, quarantined=rejected)
            if journal.entries.get(item.id) != entry:
                journal.add(entry)
        elif (known := settled[item.id]) is None or _is_copy(known):
            path = f"{CLIPS}/{item.id}{'.mkv' if form.media == 'video' else '.mka'}"
            yield PackTask(item, journal.output, path, f"{PARTIAL}/{number}.mkv", form, mark)


def _is_copy(entry: Entry) -> bool:
    return entry.quarantined is not None and entry.quarantined.reason == "duplicate"


def _pack_all(tasks: Sequence[PackTask], of: int, workers: int, journal: Journal, run: Run) -> Pace:
    """Bring every item into the journal. Raises Left when asked to leave before the end."""
    done, media_s, begun = of - len(tasks), 0.0, time.monotonic()
    run.progress("pack", done, of, "files")
    size = min(workers or _cores(), max(len(tasks), 1))
    crew: Crew[PackTask, Outcome] = Crew(pack_one, size)
    (journal.output / PARTIAL).mkdir(exist_ok=True)
    try:
        for task, answer in crew.run(tasks, lambda: run.leaving):
            entry = _entry(task, answer)
            journal.add(entry)
            media_s += entry.clip.duration_s if entry.clip else 0.0
            done += 1
            run.progress("pack", done, of, "files")
    finally:
        shutil.rmtree(journal.output / PARTIAL)
    run.leave_if_asked()
    return Pace(len(tasks), media_s, time.monotonic() - begun, size)


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


def _finish(spec: Pack, material: Material, journal: Journal, pace: Pace, folders: Sequence[Path], run: Run) -> None:
    """Write the dataset's files, then tell of them; a shard has no dataset to write."""
    entries = [(item, journal.entries[item.id]) for item in material.items]
    clips = [entry.clip.model_copy(update={"labels": item.labels}) for item, entry in entries if entry.clip]
    quarantined = [entry.quarantined for _, entry in entries if entry.quarantined]
    reasons: dict[str, int] = dict(Counter(str(one.reason) for one in quarantined).most_common())
    if not clips and spec.shard is None:
        first = f"; the first: {quarantined[0].source}: {quarantined[0].detail or quarantined[0].reason}"
        raise DataError(f"none of {len(entries)} files could be packed: {listed(reasons)}{first}")
    if quarantined:
        run.warn("quarantined", f"{len(quarantined)} of {len(entries)} files were not packed: {listed(reasons)}")
    summary = None
    if spec.shard is None:
        summary = _write(spec, material, clips, quarantined, journal.output, run)
    else:
        write_quarantine(journal.output, quarantined)
    _drop_strays(journal.output, {clip.path for clip in clips})
    announce(spec, journal.output, clips, quarantined, pace, folders, summary, run)


def _write(
    spec: Pack, material: Material, clips: list[Clip], quarantined: list[Quarantined], output: Path, run: Run
) -> Summary:
    kept = {clip.id for clip in clips}
    truths = sorted((truth for truth in material.truths if truth.id in kept), key=lambda truth: truth.id)
    summary = summarize(spec.media, clips, quarantined)
    summary = summary.model_copy(update=_mel(output, clips, summary, spec.seed, run))
    write_dataset(output, clips, quarantined, truths, summary)
    return summary


def _mel(output: Path, clips: list[Clip], summary: Summary, seed: int, run: Run) -> dict[str, float | None]:
    try:
        before = read_summary(output)
    except (FileNotFoundError, ValidationError):
        before = None
    if before is not None and before.manifest_sha256 == summary.manifest_sha256 and before.mel_mean is not None:
        return {"mel_mean": before.mel_mean, "mel_std": before.mel_std}
    found = mel_statistics(output, clips, seed, _teller(run, "log-mel", "clips"))
    return {} if found is None else {"mel_mean": round(found[0], 6), "mel_std": round(found[1], 6)}


def _drop_strays(output: Path, kept: set[str]) -> None:
    """Clips of an earlier form or of files that are gone."""
    for file in (output / CLIPS).rglob("*"):
        if file.is_file() and file.relative_to(output).as_posix() not in kept:
            file.unlink()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
