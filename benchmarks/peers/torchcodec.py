"""Reading training windows by torchcodec: from a file as it came, and from the packed clip that ours reads.

It runs in a process of its own, one thread as ours: it wants FFmpeg's libraries by their plain names, which PyAV's
wheel has under others. `python -m benchmarks.peers.torchcodec` is that process.
"""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import torch

from benchmarks.clips import RATE, SECONDS, files, frames_of
from benchmarks.peers import TORCHCODEC
from benchmarks.rounds import Comparison, compare
from cmac_core.data.windows import read_window

FRAMES = FPS = 30


def windows(rounds: int) -> Iterator[Comparison]:
    """30 frames and 1 s of sound of a 10 s file of 340 x 256 at 30 fps; as it came, then packed (short side 160)."""
    with files() as (source, target, clip), _reader() as read:
        starts = np.random.default_rng(0).uniform(0, SECONDS - 1.1, 20)

        def ours() -> int:
            return sum(frames_of(read_window(target, clip, t, frames=30, fps=30, sample_rate=RATE)) for t in starts)

        assert ours() == read(source, starts) == read(target, starts) == FRAMES * len(starts)
        for name, path in (("windows, torchcodec", source), ("windows, torchcodec on packed clips", target)):
            plain = _of(read, path, starts)
            yield compare(name, ours, plain, work=len(starts), unit="windows/s", rounds=rounds)


Reader = Callable[[Path, np.ndarray], int]


def _of(read: Reader, path: Path, starts: np.ndarray) -> Callable[[], int]:
    return lambda: read(path, starts)


@contextmanager
def _reader() -> Iterator[Reader]:
    """Reads a file's windows that begin at these seconds: how many frames there were."""
    with tempfile.TemporaryDirectory() as folder:
        found = os.pathsep.join([_libraries(Path(folder)), str(TORCHCODEC)])
        env = os.environ | {"LD_LIBRARY_PATH": found, "PYTHONPATH": os.pathsep.join([str(TORCHCODEC), *sys.path])}
        command = [sys.executable, "-m", "benchmarks.peers.torchcodec"]
        with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
            asked, told = child.stdin, child.stdout
            assert asked is not None
            assert told is not None

            def read(path: Path, starts: np.ndarray) -> int:
                print(path, *starts, sep="\t", file=asked, flush=True)
                return int(told.readline())

            yield read
            asked.close()


def _libraries(folder: Path) -> str:
    """Folders in which the loader finds libavcodec.so.62 and its like: PyAV's `libavcodec-5e6b81c2.so.62.28.102`."""
    bundled = Path(av.__file__).parents[1] / "av.libs"
    for library in bundled.iterdir():
        named = re.fullmatch(r"(lib(?:av|sw)\w+)-\w+(\.so\.\d+)\.[\d.]+", library.name)
        if named:
            (folder / "".join(named.groups())).symlink_to(library)
    return os.pathsep.join([str(folder), str(bundled)])


def main() -> None:
    """Answer each line, a path and seconds, with how many frames were read."""
    from torchcodec.decoders import AudioDecoder, VideoDecoder  # installed apart

    torch.set_num_threads(1)
    for line in sys.stdin:
        path, *starts = line.rstrip("\n").split("\t")
        frames = 0
        for start in map(float, starts):
            video = VideoDecoder(path, num_ffmpeg_threads=1, seek_mode="approximate")
            first = round(start * FPS)
            frames += len(video.get_frames_in_range(first, first + FRAMES).data)
            sound = AudioDecoder(path, sample_rate=RATE, num_channels=1)
            heard = sound.get_samples_played_in_range(start, start + 1).data
            assert heard.shape[-1] == RATE
        print(frames, flush=True)


if __name__ == "__main__":
    main()
