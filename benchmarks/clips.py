"""Reading training windows: from packed clips, against seeking in the file as it came."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.rounds import Comparison, compare
from cmac_core.data.log_mel import LogMel
from cmac_core.data.manifest import Clip
from cmac_core.data.packing import Form, pack_file
from cmac_core.data.windows import Window, read_window
from cmac_core.specs.clips import AudioFrontEnd

SECONDS, RATE = 10, 24_000


def windows(rounds: int) -> Comparison:
    """30 frames and 1 s of sound from a 10 s file of 340 x 256 at 30 fps: packed (short side 160), or as it came."""
    with files() as (source, target, clip):
        starts = np.random.default_rng(0).uniform(0, SECONDS - 1.1, 20)

        def ours() -> int:
            return sum(frames_of(read_window(target, clip, t, frames=30, fps=30, sample_rate=RATE)) for t in starts)

        def plain() -> int:
            return sum(len(read_plainly(source, t)[0]) for t in starts)

        assert ours() == plain() == 30 * len(starts)
        return compare("windows of packed clips", ours, plain, work=len(starts), unit="windows/s", rounds=rounds)


def sounds(rounds: int) -> Comparison:
    """1 s of sound as the audio network sees it: PCM of packed clips, a batch at a time; or AAC sought, one by one."""
    log_mel = LogMel(AudioFrontEnd())
    with files() as (source, target, clip):
        starts = np.random.default_rng(0).uniform(0, SECONDS - 1.1, 20)

        def ours() -> torch.Tensor:
            return log_mel(torch.from_numpy(np.stack([read_sound(target, clip, t) for t in starts])))

        def plain() -> torch.Tensor:
            read = (read_sound_plainly(source, t)[:RATE] for t in starts)
            return torch.cat([log_mel(torch.from_numpy(sound)[None]) for sound in read])

        assert ours().shape == plain().shape
        return compare("sound of packed clips", ours, plain, work=len(starts), unit="windows/s", rounds=rounds)


@contextmanager
def files() -> Iterator[tuple[Path, Path, Clip]]:
    """A file as it came, and what packing makes of it."""
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.mp4", Path(folder) / "packed.mkv"
        write_source(source)
        yield source, target, pack(source, target)


def read_sound(target: Path, clip: Clip, start: float) -> np.ndarray:
    """1 s of a packed clip."""
    read = read_window(target, clip, start, frames=30, fps=30, sample_rate=RATE, video=False).sound
    assert read is not None
    return read


def pack(source: Path, target: Path) -> Clip:
    """As datasets are packed by default."""
    packed = pack_file(source, target, Form("video", short_side=160, gop=16, crf=20, max_seconds=60))
    return Clip(id="c", path=target.name, sha256="", bytes=0, source=source.name, **packed._asdict())


def frames_of(window: Window) -> int:
    """How many frames came."""
    return 0 if window.frames is None else len(window.frames)


def read_plainly(path: Path, start: float) -> tuple[list[np.ndarray], np.ndarray]:
    """What a data set over PyAV usually does: seek to the key frame before, decode, resize nothing, resample."""
    return read_frames(path, start), read_sound_plainly(path, start)


def read_sound_plainly(path: Path, start: float) -> np.ndarray:
    """1 s and more from a file as it came."""
    sound = []
    with av.open(str(path)) as container:
        container.seek(int(start * av.time_base))
        resampler = av.AudioResampler(format="s16", layout="mono", rate=RATE)
        for block in container.decode(audio=0):
            sound += [out.to_ndarray()[0] for out in resampler.resample(block)]
            if (block.time or 0.0) > start + 1:
                break
    return np.concatenate(sound)


def read_frames(path: Path, start: float) -> list[np.ndarray]:
    """30 frames from a file as it came."""
    frames: list[np.ndarray] = []
    with av.open(str(path)) as container:
        container.seek(int(start * av.time_base))
        for frame in container.decode(video=0):
            if (frame.time or 0.0) >= start:
                frames.append(frame.to_ndarray(format="rgb24"))
            if len(frames) == 30:
                break
    return frames


def write_source(path: Path) -> None:
    """Moving texture with sound, H.264 with long GOPs and AAC, as files from the web are."""
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 255, (320, 480, 3), np.uint8)
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", 30, options={"g": "250", "crf": "23", "threads": "1"})
        video.width, video.height, video.pix_fmt = 340, 256, "yuv420p"
        audio = container.add_stream("aac", 44_100, layout="stereo")
        for i in range(30 * SECONDS):
            y, x = int(30 + 25 * np.sin(i / 9)), int(60 + 50 * np.cos(i / 13))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(texture[y : y + 256, x : x + 340]), format="rgb24")
            container.mux(video.encode(frame))
        tone = np.sin(np.arange(44_100 * SECONDS) * 0.06).astype(np.float32)
        block = av.AudioFrame.from_ndarray(np.stack([tone, tone]), format="fltp", layout="stereo")
        block.sample_rate = 44_100
        container.mux(audio.encode(block))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
