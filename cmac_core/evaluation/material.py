"""What an evaluation works on: clips that have the streams and the labels it needs, and how they divide."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, TypeVar

from cmac_core.data.dataset import Fold, PackedDataset, divide, open_dataset
from cmac_core.data.manifest import Clip
from cmac_core.specs.splits import Split
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run

Modality = Literal["video", "audio"]
ResultT = TypeVar("ResultT")


def open_material(run: Run, folder: Path, where: dict[str, str], modalities: Sequence[Modality]) -> PackedDataset:
    """The clips of a dataset that have these streams. Clips without sound are left out, and said so.

    Raises UserError when the folder is no dataset, `where` leaves nothing, or no clip has the streams.
    """
    dataset = in_words(lambda: open_dataset(folder, where))
    if "video" in modalities and not any(clip.frames for clip in dataset.clips):
        raise UserError(
            "dataset: it holds sound alone, and video was asked for", "Choose modality audio, or a video dataset."
        )
    kept = [clip for clip in dataset.clips if _has(clip, modalities)]
    if not kept:
        raise UserError(
            f"dataset: none of its {len(dataset.clips)} clips has sound, and sound was asked for",
            "Choose a dataset with sound, or an evaluation of video alone.",
        )
    if missing := len(dataset.clips) - len(kept):
        run.warn("clips_without_stream", f"{missing} of {len(dataset.clips)} clips lack a stream and are left out")
    return PackedDataset(dataset.folder, kept, dataset.summary)


def _has(clip: Clip, modalities: Sequence[Modality]) -> bool:
    return ("video" not in modalities or clip.frames > 0) and ("audio" not in modalities or clip.has_audio)


def labels_of(clips: Sequence[Clip], column: str) -> list[str]:
    """The label of each clip. Raises UserError naming the columns there are, or the clips without a label."""
    columns = sorted({name for clip in clips for name in clip.labels})
    if column not in columns:
        there = f"it has {', '.join(columns)}" if columns else "it has no columns at all"
        raise UserError(f"label: the dataset has no column {column!r}; {there}", "Set label to one of them.")
    bare = [clip.id for clip in clips if not clip.labels.get(column)]
    if bare:
        raise UserError(
            f"label: {len(bare)} clips have no {column}: {_some(bare)}", "Label them, or leave them out with where."
        )
    labels = [clip.labels[column] for clip in clips]
    if len(set(labels)) < 2:
        raise UserError(f"label: all clips have {column} = {labels[0]!r}", "There must be two classes at least.")
    return labels


def folds_of(run: Run, clips: Sequence[Clip], labels: Sequence[str], split: Split, seed: int) -> list[Fold]:
    """Training and test clips. Raises UserError for a split that does not fit; warns of classes never trained on."""
    folds = in_words(lambda: divide(clips, split, seed))
    for fold in folds:
        unseen = {labels[i] for i in fold.test} - {labels[i] for i in fold.train}
        if unseen:
            where = f" of fold {fold.name}" if fold.name else ""
            missed = sum(labels[i] in unseen for i in fold.test)
            text = f"no training clip{where} has {_some(sorted(unseen))}: {missed} test clips of those count as missed"
            run.warn("class_not_trained", text)
    return folds


def in_words(ask: Callable[[], ResultT]) -> ResultT:
    """What `ask` answers; a ValueError about the user's input becomes a UserError."""
    try:
        return ask()
    except ValueError as error:
        raise UserError(str(error)) from error


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
