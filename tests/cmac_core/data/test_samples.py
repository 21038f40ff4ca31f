"""Clips of a dataset that a browser plays."""

from pathlib import Path

import av
import numpy as np
import pytest

from cmac_core.data.manifest import Clip
from cmac_core.data.packing import Form, pack_file
from cmac_core.data.samples import SECONDS, chosen, write_sample
from tests.cmac_core.data.made_media import RATE, numbered, ramp, write_media


def clip(id: str, **labels: str) -> Clip:
    return Clip.model_construct(id=id, labels=labels)


def packed(folder: Path, media: str, **made: object) -> Path:
    source, target = folder / "source.mkv", folder / "packed.mkv"
    write_media(source, **made)
    pack_file(source, target, Form(media, 64, 8, 23, 600.0))  # type: ignore[arg-type]
    return target


def test_a_sample_has_the_frames_and_the_sound_of_its_clip_in_a_form_that_browsers_play(tmp_path: Path) -> None:
    path = packed(tmp_path, "video", frames=numbered(20), sound=ramp(2 * RATE), fps=10)
    write_sample(path, tmp_path / "sample.mp4")
    with av.open(str(path)) as before, av.open(str(tmp_path / "sample.mp4")) as after:
        video, audio = after.streams.video[0], after.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert video.codec_context.pix_fmt == "yuv420p"
        was = [(frame.time, frame.to_ndarray()) for frame in before.decode(video=0)]
        frames = [(frame.time, frame.to_ndarray()) for frame in after.decode(video=0)]
        after.seek(0)
        heard = sum(frame.samples for frame in after.decode(audio=0)) / audio.rate
    assert [time for time, _ in frames] == pytest.approx([time for time, _ in was], abs=0.002)
    assert all(np.array_equal(one, other) for (_, one), (_, other) in zip(was, frames, strict=True))
    assert heard == pytest.approx(2.0, abs=0.1)
    head = (tmp_path / "sample.mp4").read_bytes()
    assert head.index(b"moov") < head.index(b"mdat")  # it plays before it is whole


def test_a_long_clip_is_shown_from_its_beginning_alone(tmp_path: Path) -> None:
    path = packed(tmp_path, "video", frames=numbered(130), sound=ramp(13 * RATE), fps=10)
    write_sample(path, tmp_path / "sample.mp4")
    with av.open(str(tmp_path / "sample.mp4")) as sample:
        assert sample.duration is not None
        assert sample.duration / 1e6 == pytest.approx(SECONDS, abs=0.1)


def test_a_clip_of_sound_alone_is_heard(tmp_path: Path) -> None:
    path = packed(tmp_path, "audio", sound=ramp(RATE))
    write_sample(path, tmp_path / "sample.mp4")
    with av.open(str(tmp_path / "sample.mp4")) as sample:
        assert [stream.type for stream in sample.streams] == ["audio"]
        assert sum(frame.samples for frame in sample.decode(audio=0)) == pytest.approx(RATE, abs=2500)


def test_samples_are_of_as_many_classes_as_there_are() -> None:
    clips = [clip(f"{name}/{i:03}", **{"class": name}) for name in "abcd" for i in range(50)]
    shown = chosen(clips, "class")
    assert [one.labels["class"] for one in shown] == [name for name in "abcd" for _ in range(3)]
    assert len({one.id for one in shown}) == 12
    assert [one.id for one in chosen(clips[:5], None)] == [one.id for one in clips[:5]]
