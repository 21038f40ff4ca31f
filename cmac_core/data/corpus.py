"""The generated corpus "sounding objects": real media files with their labels, and the truth about each.

Clips are H.264 and AAC in MP4. Clip i depends on the seed, i and the spec alone, whatever process makes it.
"""

import csv
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import numpy as np
import numpy.typing as npt
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame

from cmac_core.data.corpus_picture import boxes, draw
from cmac_core.data.corpus_scene import CLASSES, GRADES, Scene, compose
from cmac_core.data.corpus_sound import band, sound_of
from cmac_core.data.manifest import TRUTH, Truth
from cmac_core.data.sound import RATE
from cmac_core.specs.corpus import SoundingObjects

FOLDER = "clips"


@dataclass(frozen=True)
class MakeTask:
    """One clip to make below `root`."""

    spec: SoundingObjects
    number: int
    cls: str
    root: Path


def make_one(task: MakeTask, alive: Callable[[], object]) -> Truth:
    """Make and write one clip; a file that is there is kept, for it is the same one. Returns its truth."""
    alive()
    sample = make(task.spec, task.number, task.cls)
    path = task.root / source_of(task.number)
    if not path.exists():
        partial = path.with_suffix(".partial")
        write(sample, partial, task.spec.fps)
        partial.replace(path)
    return sample.truth


class Sample(NamedTuple):
    """One clip before it is encoded: frames uint8 (T, H, W, 3), sound float32 (S,) at 24 kHz, and its truth."""

    frames: npt.NDArray[np.uint8]
    sound: npt.NDArray[np.float32]
    truth: Truth


def labels_of(spec: SoundingObjects) -> list[dict[str, str]]:
    """Class and split of every clip: classes as even as can be, the split as well within each class."""
    random = np.random.Generator(np.random.Philox(spec.seed))
    order = random.permutation(spec.clips)
    labels: list[dict[str, str]] = [{}] * spec.clips
    dealt = 0
    for cls in range(spec.classes):
        members = order[cls :: spec.classes]
        # What rounding takes from one class goes to the next, so that a small corpus has test clips too.
        tests = round(spec.test_share * (dealt + len(members))) - round(spec.test_share * dealt)
        dealt += len(members)
        for rank, i in enumerate(members):
            labels[i] = {"class": CLASSES[cls], "split": "test" if rank < tests else "train"}
    return labels


def name_of(number: int) -> str:
    """Id of a clip, which is also its file's path without extension."""
    return f"{FOLDER}/{number:06}"


def source_of(number: int) -> str:
    """The clip's file, relative to the corpus."""
    return f"{name_of(number)}.mp4"


def write_tables(labels: list[dict[str, str]], truths: list[Truth], root: Path) -> None:
    """labels.csv and truth.jsonl beside the files: what a folder of real media would come with."""
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["video", "class", "split"])
        table.writerows([source_of(i), row["class"], row["split"]] for i, row in enumerate(labels))
    (root / TRUTH).write_text("".join(truth.model_dump_json() + "\n" for truth in truths), encoding="utf-8")


def make(spec: SoundingObjects, number: int, cls: str) -> Sample:
    """Clip `number`, whose sounding object is of class `cls`."""
    random = np.random.Generator(np.random.Philox(key=[spec.seed, number + 1]))
    grade = GRADES[spec.grade]
    scene = compose(spec, CLASSES.index(cls), random)
    frames = np.stack(list(draw(scene, spec.size, grade, random)))
    sound = sound_of(scene, spec.fps, grade, spec.classes, random)
    return Sample(frames, sound, _truth(name_of(number), scene, spec))


def write(sample: Sample, path: Path, fps: float) -> None:
    """One sample as an MP4 file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rate = Fraction(fps).limit_denominator(1001)
    with av.open(str(path), "w", format="mp4", container_options={"fflags": "+bitexact"}) as container:
        # x264's lookahead, and B-frames most of all, give other bytes now and then for the same frames.
        options = {"preset": "veryfast", "crf": "16", "threads": "1", "bf": "0", "flags": "+bitexact"}
        options["x264-params"] = "rc-lookahead=0:sync-lookahead=0:mbtree=0:weightp=0"
        video = container.add_stream("libx264", rate=rate, options=options)
        video.height, video.width = sample.frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=RATE, options={"flags": "+bitexact"})
        assert isinstance(audio, AudioStream)
        audio.bit_rate = 96_000
        cast(Any, audio.codec_context).layout = "mono"
        container.mux(audio.encode(_audio_frame(sample.sound)))
        for i, picture in enumerate(sample.frames):
            frame = VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = i, 1 / rate
            container.mux(video.encode(frame))
        for stream in (audio, video):
            container.mux(stream.encode(None))


def _audio_frame(sound: npt.NDArray[np.float32]) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), "fltp", "mono")
    frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
    return frame


def _truth(name: str, scene: Scene, spec: SoundingObjects) -> Truth:
    first, *others = scene.things
    return Truth(
        id=name,
        cls=CLASSES[scene.cls],
        sounding=tuple(boxes(first)),
        silent=tuple(tuple(boxes(thing)) for thing in others),
        silent_moves=tuple(thing.moves for thing in others),
        band_hz=band(scene.cls),
        intervals_s=_intervals(scene.on, spec.fps),
    )


def _intervals(on: npt.NDArray[np.bool_], fps: float) -> tuple[tuple[float, float], ...]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], on, [False]])))
    return tuple((round(a / fps, 6), round(b / fps, 6)) for a, b in edges.reshape(-1, 2).tolist())
