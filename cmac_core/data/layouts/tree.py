"""What lies below a set's folder: its media by name and its annotation files, wherever they are. No torch here."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Literal, NamedTuple

from cmac_core.data.layouts.recognition import recognized
from cmac_core.data.media import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from cmac_core.data.sources import spelled, walk

SHOWN = 6  # names in a message
TEXTS = (".txt", ".csv")


class About(NamedTuple):
    """How a set is called and what it consists of, for messages."""

    layout: str
    title: str
    lists: str  # its annotation files
    media: str  # its media
    give: str  # what the source should be


class Tree:
    """All files below `root`; annotations are looked for below `annotations`, or everywhere.

    Raises ValueError when `annotations` is not there or leads out of the root.
    """

    def __init__(
        self, root: Path, media: Literal["video", "audio"], annotations: str | None = None, allow_missing: bool = False
    ) -> None:
        self.root, self.annotations, self.allow_missing = root, annotations, allow_missing
        self.files = walk(root)
        self._lists = self.files if annotations is None else _below(root, self.files, annotations)
        self._media: dict[str, list[PurePosixPath]] = defaultdict(list)
        # Sound sets may have been kept as video; video sets often have their sound extracted beside them.
        suffixes = [VIDEO_SUFFIXES] if media == "video" else [AUDIO_SUFFIXES, VIDEO_SUFFIXES]
        for wanted in suffixes:
            new = [file for file in self.files if file.suffix.lower() in wanted]
            new = [file for file in new if spelled(PurePosixPath(file.stem)) not in self._media]
            for file in new:
                self._media[spelled(PurePosixPath(file.stem))].append(file)

    @property
    def media(self) -> list[PurePosixPath]:
        """All media files, in the order of the walk."""
        kept = {file for files in self._media.values() for file in files}
        return [file for file in self.files if file in kept]

    def media_of(self, stems: Sequence[str], folder: str) -> PurePosixPath | None:
        """The media file of one of these names, wherever it lies; of several the one in a folder of that name.

        Raises ValueError when that does not decide.
        """
        for stem in stems:
            found = self._media.get(stem, [])
            inside = [file for file in found if file.parent.name == folder] if len(found) > 1 else found
            if len(inside) == 1:
                return inside[0]
            if found:
                names = " and ".join(spelled(file) for file in found[:2])
                raise ValueError(f"source: {names} have the same name; keep one below the source")
        return None

    def lists(self, wanted: Callable[[PurePosixPath], object], about: About) -> dict[str, Path]:
        """The annotation files, by name, from the one folder that has such. Raises ValueError: none, or several."""
        folders: dict[PurePosixPath, dict[str, Path]] = defaultdict(dict)
        for file in self._lists:
            if wanted(file):
                folders[file.parent][file.name] = self.root / file
        if len(folders) > 1:  # Kinetics and VGGSound both have a test.csv
            own = {place: files for place, files in folders.items() if _may_be(files.values(), about)}
            folders = defaultdict(dict, own)
        if not folders:
            raise ValueError(self._no_lists(about))
        if len(folders) > 1:
            names = ", ".join(str(folder) for folder in sorted(folders)[:SHOWN])
            raise ValueError(
                f"annotations: the lists of {about.title} are in several folders of {self.root}: {names}; "
                "name one with annotations"
            )
        return next(iter(folders.values()))

    def described(self) -> str:
        """What is there, in a few words: the top entries, with their number of media files."""
        media = {file.parts[0]: 0 for file in self.files}
        for files in self._media.values():
            for file in files:
                media[file.parts[0]] += 1
        folders = {file.parts[0] for file in self.files if len(file.parts) > 1}
        told = [f"{name}/ ({media[name]} media files)" for name in sorted(folders)]
        told += [name for name in media if name not in folders]
        more = f" and {len(told) - SHOWN} more" if len(told) > SHOWN else ""
        return ", ".join(told[:SHOWN]) + more if told else "nothing"

    def _no_lists(self, about: About) -> str:
        where = f"{self.root / self.annotations}" if self.annotations else f"anywhere below {self.root}"
        others: dict[str, PurePosixPath] = {}
        for file in self._lists:
            if file.suffix.lower() in TEXTS and (other := recognized(self.root / file)):
                others.setdefault(other, file)
        told = "".join(f"; {file} is a list of {title}, not of {about.title}" for title, file in others.items())
        return (
            f"layout {about.layout}: looked for {about.lists} {where}, and found none; there is: {self.described()}"
            f"{told}; give {about.give}, or name the lists' place below it with annotations"
        )


def _below(root: Path, files: list[PurePosixPath], annotations: str) -> list[PurePosixPath]:
    place = PurePosixPath(annotations)
    if place.is_absolute() or ".." in place.parts:
        raise ValueError(f"annotations: {annotations} leads out of the source; give a path below it")
    inside = [file for file in files if file == place or place in file.parents] if place.parts else files
    if not inside:
        raise ValueError(f"annotations: there is no {annotations} in {root}, or nothing in it")
    return inside


def _may_be(files: Iterable[Path], about: About) -> bool:
    return any(recognized(file) in (None, about.title) for file in files)


def like(pattern: str) -> Callable[[PurePosixPath], object]:
    """Whether a file's whole name is like this, whatever its case."""
    compiled = re.compile(pattern, re.IGNORECASE)
    return lambda file: compiled.fullmatch(file.name)
