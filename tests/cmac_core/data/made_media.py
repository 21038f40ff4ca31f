"""Small media files whose every frame and sample is known, and the real ones that lie beside the checkout."""

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from cmac_core.data.manifest import Clip
from cmac_core.data.packing import Form, Packed, pack_file

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="../shared/data is not there")
RATE = 24_000
VIDEO = Form("video", short_side=160, gop=16, crf=20, max_seconds=3600.0)
AUDIO = Form("audio", short_side=160, gop=16, crf=20, max_seconds=3600.0)


def numbered(count: int, width: int = 64, height: int = 48) -> np.ndarray:
    """Gray frames (T, H, W, 3), frame i of brightness 3 i + 10: `number_of` reads it back."""
    levels = (np.arange(count) * 3 + 10).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, height, width, 3)).copy()


def number_of(frame: np.ndarray) -> int:
    return round((float(frame.mean()) - 10) / 3)


def ramp(samples: int) -> np.ndarray:
    """int16 sound in which no two samples near each other are equal."""
    return ((np.arange(samples) * 7) % 30_000 - 15_000).astype(np.int16)


def write_media(
    path: Path,
    frames: np.ndarray | None = None,
    times: list[float] | None = None,
    sound: np.ndarray | None = None,
    *,
    fps: float = 25,
    rate: int = RATE,
    layout: str = "mono",
    sound_start: float = 0.0,
    sound_times: list[tuple[float, int, int]] | None = None,
    codec: str = "libx264",
) -> Path:
    """A file of frames at `times` (else at `fps`) and PCM sound (channels, S); MKV unless the suffix says otherwise.

    `sound_times` are pieces (seconds, first sample, samples) for sound with gaps.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        video = audio = None
        if frames is not None:
            video = container.add_stream(codec, rate=Fraction(fps).limit_denominator(1001), options={"crf": "5"})
            video.height, video.width = frames.shape[1:3]
            video.pix_fmt = "yuv420p"
            video.codec_context.time_base = Fraction(1, 1000)
        if sound is not None:
            audio = container.add_stream("aac" if path.suffix == ".mp4" else "pcm_s16le", rate=rate)
            cast(Any, audio.codec_context).layout = layout
            for start, first, count in sound_times or [(sound_start, 0, np.atleast_2d(sound).shape[1])]:
                piece = np.atleast_2d(sound)[:, first : first + count]
                frame = AudioFrame.from_ndarray(np.ascontiguousarray(piece.T.reshape(1, -1)), "s16", layout)
                frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), round(start * rate)
                container.mux(audio.encode(frame))
            container.mux(audio.encode(None))
        if video is not None:
            assert frames is not None
            for i, picture in enumerate(frames):
                image = VideoFrame.from_ndarray(picture, "rgb24")
                image.time_base = Fraction(1, 1000)
                image.pts = round((times[i] if times else i / fps) * 1000)
                container.mux(video.encode(image))
            container.mux(video.encode(None))
    return path


def clip_of(packed: Packed, path: Path) -> Clip:
    return Clip(id="one", path=path.name, sha256="", bytes=0, source="one", **packed._asdict())


def packed_clip(source: Path, form: Form = VIDEO) -> tuple[Path, Clip]:
    """Pack a file next to itself."""
    target = source.with_name(source.name + ".packed.mkv")
    return target, clip_of(pack_file(source, target, form), target)
