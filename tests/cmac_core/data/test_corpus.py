"""Sounding objects: what is seen and heard agrees, and no shortcut tells the class or the place."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from cmac_core.data.corpus import Sample, labels_of, make, name_of, write
from cmac_core.data.corpus_scene import CLASSES, compose
from cmac_core.data.corpus_sound import band
from cmac_core.data.windows import read_window
from cmac_core.specs import SoundingObjects
from tests.cmac_core.data.made_media import RATE, packed_clip

Grade = Literal["easy", "middle", "hard"]
GRADES: tuple[Grade, ...] = ("easy", "middle", "hard")
CLIPS = 240


def corpus(grade: Grade = "middle", clips: int = CLIPS) -> SoundingObjects:
    return SoundingObjects(generate="sounding-objects", grade=grade, clips=clips)


def samples(spec: SoundingObjects, count: int) -> list[tuple[Sample, str]]:
    labels = labels_of(spec)[:count]
    return [(make(spec, i, row["class"]), row["class"]) for i, row in enumerate(labels)]


def spectrogram(sound: np.ndarray) -> np.ndarray:
    """Power (T, 241) in windows of 20 ms."""
    frames = sound[: len(sound) // 480 * 480].reshape(-1, 480)
    return np.abs(np.fft.rfft(frames * np.hanning(480))) ** 2


def band_curve(sample: Sample, cls: str) -> np.ndarray:
    """Decibels in a class's band over time, in windows of 20 ms; what is in other bands is cut away exactly."""
    spectrum = np.fft.rfft(sample.sound)
    frequency = np.fft.rfftfreq(len(sample.sound), 1 / RATE)
    low, high = band(CLASSES.index(cls))
    alone = np.fft.irfft(np.where((low <= frequency) & (frequency < high), spectrum, 0))
    return 10 * np.log10((alone[: len(alone) // 480 * 480].reshape(-1, 480) ** 2).mean(1) + 1e-12)


def sounding_at(sample: Sample, seconds: np.ndarray) -> np.ndarray:
    return np.any([(start <= seconds) & (seconds < end) for start, end in sample.truth.intervals_s], axis=0)


def inside(frame: np.ndarray, box: tuple[float, float, float, float], margin: int = 3) -> np.ndarray:
    size = frame.shape[0]
    x0, y0, x1, y1 = (round(edge * size) for edge in box)
    return frame[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin]


@pytest.mark.parametrize("grade", GRADES)
def test_the_sounding_band_comes_and_goes_with_the_truth(grade: Grade) -> None:
    for sample, cls in samples(corpus(grade), 8):
        curve = band_curve(sample, cls)
        on = sounding_at(sample, (np.arange(len(curve)) + 0.5) * 0.02)
        assert sample.truth.cls == cls
        assert sample.truth.band_hz == band(CLASSES.index(cls))
        assert np.median(curve[on]) - np.median(curve[~on]) > 10


@pytest.mark.parametrize("grade", GRADES)
def test_the_sounding_object_is_lit_while_it_sounds_and_the_silent_ones_are_not(grade: Grade) -> None:
    spec = corpus(grade)
    agreements: dict[str, list[float]] = {"sounding": [], "silent": []}
    for sample, _ in samples(spec, 24):
        on = sounding_at(sample, (np.arange(len(sample.frames)) + 0.5) / spec.fps).astype(float)
        for kind, tracks in (("sounding", [sample.truth.sounding]), ("silent", sample.truth.silent)):
            for boxes in tracks:
                light = [inside(frame, box, 0).mean() for frame, box in zip(sample.frames, boxes, strict=True)]
                agreements[kind].append(float(np.corrcoef(on, light)[0, 1]))
    assert np.mean(agreements["sounding"]) > 0.9
    assert abs(np.mean(agreements["silent"])) < 0.15


@pytest.mark.system
@pytest.mark.parametrize("grade", GRADES)
def test_mean_color_and_mean_spectrum_do_not_tell_the_class(grade: Grade) -> None:
    """RULINGS 10: below .6 of 8 classes; logarithm of the mean and mean of the logarithm, tight and loose fits."""
    made = samples(corpus(grade), CLIPS)
    classes = [cls for _, cls in made]
    power = [spectrogram(sample.sound) + 1e-9 for sample, _ in made]
    views = {
        "color": [sample.frames.mean((0, 1, 2)) for sample, _ in made],
        "log of the mean spectrum": [np.log(one.mean(0)) for one in power],
        "mean of the log spectrum": [np.log(one).mean(0) for one in power],
    }
    for view, features in views.items():
        for strength in (0.01, 1.0):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=200))
            accuracy = cross_val_score(model, np.array(features), classes, cv=3).mean()
            assert accuracy < 0.6, (view, strength)


def test_what_changes_in_a_band_does_tell_the_class() -> None:
    """The control of the test above: the class is there to be heard."""
    right = 0
    for sample, cls in samples(corpus("easy"), 64):
        right += max(CLASSES, key=lambda other: float(band_curve(sample, other).std())) == cls
    assert right > 55


@pytest.mark.parametrize("grade", ["middle", "hard"])
def test_a_silent_object_moves_as_much_as_the_sounding_one(grade: Grade) -> None:
    """Motion energy near each object: neither their ratio nor the larger one tells which of the two sounds."""
    ratios, larger = [], 0
    for sample, _ in samples(corpus(grade), 80):
        change = np.abs(np.diff(sample.frames.astype(np.float32), axis=0))
        energy = [
            sum(float(inside(frame, box).sum()) for frame, box in zip(change, boxes[1:], strict=True))
            for boxes in (sample.truth.sounding, sample.truth.silent[0])
        ]
        assert sample.truth.silent_moves[0]
        ratios.append(energy[0] / energy[1])
        larger += energy[0] > energy[1]
    assert 0.75 < np.median(ratios) < 1.33
    assert 0.25 < larger / 80 < 0.75


def test_every_grade_has_its_objects() -> None:
    moves = {grade: make(corpus(grade), 0, "ring").truth.silent_moves for grade in GRADES}
    assert moves == {"easy": (False,), "middle": (True, False), "hard": (True, True, False, False)}


def test_on_hard_one_at_rest_looks_like_the_one_that_sounds() -> None:
    for i in range(10):
        scene = compose(corpus("hard"), 3, np.random.default_rng(i))
        assert scene.things[-1].look == 3
        assert not scene.things[-1].moves


def test_a_clip_depends_on_seed_and_number_alone() -> None:
    spec = corpus("middle", 16)
    first, again, other = make(spec, 3, "disk"), make(spec, 3, "disk"), make(spec, 4, "disk")
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.sound, again.sound)
    assert first.truth == again.truth
    assert first.truth.sounding != other.truth.sounding
    seeded = make(spec.model_copy(update={"seed": 1}), 3, "disk")
    assert not np.array_equal(first.frames, seeded.frames)


def test_classes_and_splits_are_even() -> None:
    labels = labels_of(corpus(clips=400))
    for cls in CLASSES:
        rows = [row["split"] for row in labels if row["class"] == cls]
        assert (len(rows), rows.count("test")) == (50, 10)
    few = labels_of(SoundingObjects(generate="sounding-objects", clips=8, classes=3))
    assert {row["class"] for row in few} == set(CLASSES[:3])
    assert [row["split"] for row in few].count("test") == 2


def test_written_and_packed_it_is_still_in_step(tmp_path: Path) -> None:
    """Through H.264, AAC, MP4 and packing: each frame at its time, sound shifted by no sample."""
    spec = corpus("easy")
    sample = make(spec, 5, "cross")
    write(sample, tmp_path / "it.mp4", spec.fps)
    path, clip = packed_clip(tmp_path / "it.mp4")
    window = read_window(path, clip, 0.0, frames=16, fps=spec.fps, sample_rate=RATE)
    assert window.frames is not None
    assert window.sound is not None
    assert (clip.frames, clip.fps, clip.video_start_s, clip.audio_start_s) == (16, 8, 0, 0)
    assert np.abs(window.frames.astype(float) - sample.frames).mean((1, 2, 3)).max() < 8
    piece = sample.sound[1000:25_000]
    agreement = [float(piece @ window.sound[1000 + lag : 25_000 + lag]) for lag in range(-60, 61)]
    assert int(np.argmax(agreement)) - 60 == 0


def test_names_are_ids() -> None:
    assert name_of(7) == "clips/000007"
