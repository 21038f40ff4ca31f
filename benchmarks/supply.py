"""Whether decoding keeps up with a GPU: how long a training waits for its data at 250 clips/s over 16 cores.

A worker has a core, so each has to bring a sixteenth of that. One worker is measured at one sixteenth and two at two,
which shows whether they get into each other's way; the step is a pause as long as the GPU's would be.
"""

import struct
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.choices import executed
from benchmarks.clips import RATE, write_source
from benchmarks.rounds import Limit
from cmac_core.data.dataset import PackedDataset, open_dataset
from cmac_core.data.loader import Cut, Loader
from cmac_core.data.sampler import Position, Sampler

CLIPS_PER_S, CORES = 250, 16  # what a training at the paper's size takes of an H200, and the cores beside it
CLIPS, BATCH, WARM, STEPS = 32, 16, 8, 12
CUT = Cut(frames=30, fps=30.0, sample_rate=RATE)


def waits() -> Iterator[Limit]:
    """Percent of the time, by one worker and by two."""
    with _packed() as dataset:
        for workers in (1, 2):
            name = f"data wait, {workers}/{CORES} of {CLIPS_PER_S} clips/s, {workers} worker{'s' * (workers > 1)}"
            yield Limit(name, "%", 100 * _wait(dataset, workers), 2.0, STEPS)


def _wait(dataset: PackedDataset, workers: int) -> float:
    """The share of the time in which the training stands still, once the workers have begun."""
    sampler = Sampler(len(dataset), BATCH, seed=0)
    loader = Loader(dataset, range(len(dataset)), sampler, CUT, workers=workers)
    step_s = BATCH / (CLIPS_PER_S / CORES * workers)
    began = waited = 0.0
    for number, batch in enumerate(loader.batches(Position(0, 0), WARM + STEPS)):
        assert len(batch.sizes) == BATCH
        if number == WARM:
            began, waited = time.perf_counter(), loader.waited
        time.sleep(step_s)
    return (loader.waited - waited) / (time.perf_counter() - began)


@contextmanager
def _packed() -> Iterator[PackedDataset]:
    """Files of 10 s, 340 x 256 at 30 fps, packed as the default is."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        source.mkdir()
        write_source(source / "0.mp4")
        for number in range(1, CLIPS):  # a box of free space tells them apart: of equal files packing keeps one
            free = struct.pack(">I4sI", 12, b"free", number)
            (source / f"{number}.mp4").write_bytes((source / "0.mp4").read_bytes() + free)
        body = {"kind": "pack", "source": {"path": str(source)}, "workers": 2}
        executed(Path(folder) / "pack", body, 0, {"source": source, "output": Path(folder) / "dataset"})
        yield open_dataset(Path(folder) / "dataset")
