"""Reading training windows as GDT does: frames by PyAV, the whole sound by an ffmpeg process for each sample."""

import subprocess
from pathlib import Path

import numpy as np
import torch

from benchmarks.clips import RATE, SECONDS, files, frames_of, read_frames, read_sound
from benchmarks.peers import PYTHON
from benchmarks.rounds import Comparison, compare
from cmac_core.data.log_mel import LogMel
from cmac_core.data.windows import read_window
from cmac_core.specs.clips import AudioFrontEnd


def windows(rounds: int) -> Comparison:
    """30 frames and 1 s of sound from a 10 s file of 340 x 256 at 30 fps."""
    ffmpeg = _ffmpeg()
    with files() as (source, target, clip):
        starts = np.random.default_rng(0).uniform(0, SECONDS - 1.1, 10)

        def ours() -> int:
            return sum(frames_of(read_window(target, clip, t, frames=30, fps=30, sample_rate=RATE)) for t in starts)

        def plain() -> int:
            found = [(read_frames(source, start), _sound(ffmpeg, source, start)) for start in starts]
            return sum(len(frames) for frames, heard in found if len(heard) == RATE)

        assert ours() == plain() == 30 * len(starts)
        return compare("windows, GDT's way", ours, plain, work=len(starts), unit="windows/s", rounds=2 * rounds)


def sounds(rounds: int) -> Comparison:
    """1 s of sound from that file, as the audio network sees it; both make the same picture of it, GDT one by one."""
    ffmpeg, log_mel = _ffmpeg(), LogMel(AudioFrontEnd())
    with files() as (source, target, clip):
        starts = np.random.default_rng(0).uniform(0, SECONDS - 1.1, 10)

        def ours() -> torch.Tensor:
            return log_mel(torch.from_numpy(np.stack([read_sound(target, clip, t) for t in starts])))

        def plain() -> torch.Tensor:
            return torch.cat([log_mel(torch.from_numpy(_sound(ffmpeg, source, t).copy())[None]) for t in starts])

        assert ours().shape == plain().shape
        return compare("sound, GDT's way", ours, plain, work=len(starts), unit="windows/s", rounds=2 * rounds)


def _ffmpeg() -> str:
    asked = [str(PYTHON), "-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"]
    return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()


def _sound(ffmpeg: str, source: Path, start: float) -> np.ndarray:
    """1 s, cut out of all that the file has."""
    command = [ffmpeg, "-v", "error", "-i", str(source), "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"]
    whole = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)
    return whole[int(start * RATE) :][:RATE]
