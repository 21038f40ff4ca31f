"""Reading training windows as GDT does: frames by PyAV, the whole sound by an ffmpeg process for each sample."""

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.clips import RATE, SECONDS, frames_of, pack, read_frames, write_source
from benchmarks.peers import PYTHON
from benchmarks.rounds import Comparison, compare
from cmac_core.data.windows import read_window


def windows(rounds: int) -> Comparison:
    """30 frames and 1 s of sound from a 10 s file of 340 x 256 at 30 fps."""
    asked = [str(PYTHON), "-c", "import imageio_ffmpeg; print(imageio_ffmpeg.get_ffmpeg_exe())"]
    ffmpeg = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "source.mp4", Path(folder) / "packed.mkv"
        write_source(source)
        clip = pack(source, target)
        starts = np.random.default_rng(0).uniform(0, SECONDS - 1.1, 10)

        def sound(start: float) -> np.ndarray:
            command = [ffmpeg, "-v", "error", "-i", str(source), "-f", "s16le", "-ac", "1", "-ar", str(RATE), "-"]
            whole = np.frombuffer(subprocess.run(command, capture_output=True, check=True).stdout, np.int16)
            return whole[int(start * RATE) :][:RATE]

        def ours() -> int:
            return sum(frames_of(read_window(target, clip, t, frames=30, fps=30, sample_rate=RATE)) for t in starts)

        def plain() -> int:
            found = [(read_frames(source, start), sound(start)) for start in starts]
            return sum(len(frames) for frames, heard in found if len(heard) == RATE)

        assert ours() == plain() == 30 * len(starts)
        return compare("windows, GDT's way", ours, plain, work=len(starts), unit="windows/s", rounds=rounds)
