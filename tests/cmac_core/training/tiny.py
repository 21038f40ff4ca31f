"""A dataset, a spec and ranks so small that a whole training takes a second."""

import json
import multiprocessing
import os
import resource
import signal
import socket
import sys
from fractions import Fraction
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import av
import numpy as np

from cmac_core.data.clip_writer import ClipWriter, Picture
from cmac_core.data.dataset_writer import summarize, write_dataset
from cmac_core.data.manifest import Clip, sha256_of
from cmac_core.events import AnyEvent, Ended, read
from cmac_core.specs.presets import merged

FPS, SECONDS, RATE = 8, 1.0, 24_000
CLIPS = 17  # four steps of four, and one left over

SPEC: dict[str, Any] = {
    "kind": "pretrain",
    "dataset": "tiny",
    "preset": "paper",
    "seed": 3,
    "data": {"fps": 8, "frames": 4, "crop": 32, "short_side": [32, 36], "workers": 0, "max_bad_share": 0.2},
    "model": {"width": 4, "bn_group": 2, "head": {"dim": 16}, "saliency": {"hidden": 8}},
    "moco": {"K": 64, "m": 0.9},
    "optim": {"batch": 4, "epochs": 2, "lr": 0.05, "warmup_epochs": 0.5},
}

_WARM = multiprocessing.get_context("forkserver")
_WARM.set_forkserver_preload(["cmac_core.jobs.pretrain", "torch._dynamo", "matplotlib.figure"])


def write_clips(folder: Path, clips: int = CLIPS) -> Path:
    """A packed dataset of moving noise, each clip with its own tone; two sizes of picture."""
    (folder / "clips").mkdir(parents=True)
    rows = [_clip(folder, i) for i in range(clips)]
    write_dataset(folder, rows, [], [], summarize("video", rows, [], mel=(-8.0, 4.0)))
    return folder


def _clip(folder: Path, i: int) -> Clip:
    draw = np.random.default_rng(i)
    width, height = (48, 40) if i % 2 else (40, 44)
    path = folder / "clips" / f"{i:02}.mkv"
    ground = draw.integers(0, 255, (height // 4, width // 4, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1)
    time = np.arange(int(SECONDS * RATE)) / RATE
    tone = 0.5 * np.sin(2 * np.pi * (200 + 300 * i) * time) + 0.02 * draw.standard_normal(len(time))
    with ClipWriter(path, Picture(width, height, Fraction(FPS), 4, 20), sound=True) as writer:
        for frame in range(int(FPS * SECONDS)):
            picture = av.VideoFrame.from_ndarray(np.roll(ground, frame * (i % 5), 1), format="rgb24")
            writer.write_frame(picture.reformat(format="yuv420p"), frame * 1000 // FPS)
        writer.write_sound((tone * 32767).clip(-32768, 32767).astype(np.int16), 0)
        writer.finish()
    return Clip(
        id=f"{i:02}",
        path=f"clips/{path.name}",
        sha256=sha256_of(path),
        bytes=path.stat().st_size,
        source=path.name,
        duration_s=SECONDS,
        frames=int(FPS * SECONDS),
        fps=FPS,
        width=width,
        height=height,
        samples=int(SECONDS * RATE),
        sample_rate=RATE,
        peak_dbfs=-6.0,
        has_audio=True,
        labels={"class": str(i % 2)},
    )


class Tiny:
    """One job in a folder: its spec, its inputs, its ranks and what they wrote."""

    def __init__(self, folder: Path, dataset: Path, resume: Path | None = None, **changes: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.run_dir, self.log = folder, folder / "run", folder / "log.txt"
        self.spec = folder / "spec.json"
        self.more: list[str] = []  # arguments
        self.spec.write_text(json.dumps(merged(SPEC, changes)))
        inputs = {"dataset": {"path": str(dataset)}} | ({"resume": {"path": str(resume)}} if resume else {})
        (folder / "inputs.json").write_text(json.dumps(inputs))

    def start(self, ranks: int = 1, **environment: str) -> list[BaseProcess]:
        """Ranks forked from a process that has imported everything: no start takes seconds."""
        place = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(_free_port())}
        children = []
        for rank in range(ranks):
            own = place | environment | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
            children.append(_WARM.Process(target=_rank, args=(self.arguments, own, str(self.log))))
        for child in children:
            child.start()
        return children

    def train(self, ranks: int = 1, **environment: str) -> list[int | None]:
        """Start, and wait for the exit codes."""
        return wait(self.start(ranks, **environment))

    @property
    def arguments(self) -> list[str]:
        return [str(self.spec), "--run-dir", str(self.run_dir), *self.more]

    @property
    def events(self) -> list[AnyEvent]:
        return read(self.run_dir)[0]

    @property
    def ended(self) -> Ended:
        """The last event."""
        last = self.events[-1]
        assert isinstance(last, Ended), self.log.read_text()
        return last

    @property
    def checkpoints(self) -> list[Path]:
        return sorted(self.run_dir.glob("checkpoints/step-*/state.pt"))


def wait(children: list[BaseProcess], seconds: float = 200) -> list[int | None]:
    """Exit codes of ranks; none outlives the test."""
    for child in children:
        child.join(seconds)
        if child.is_alive():
            child.kill()
    return [child.exitcode for child in children]


def _rank(arguments: list[str], environment: dict[str, str], log: str) -> None:
    os.environ.update(environment)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    import torch

    from cmac_core.__main__ import main

    torch.set_num_threads(1)
    if "DIE_AT_FSYNC" in environment:
        _die_at_fsync(int(environment["DIE_AT_FSYNC"]))
    if "FILE_LIMIT" in environment:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(environment["FILE_LIMIT"]),) * 2)
    sys.exit(main(arguments))


def _die_at_fsync(number: int) -> None:
    """kill -9 at a chosen moment of a chosen write: there are four to a checkpoint."""
    fsync, calls = os.fsync, iter(range(1, number + 1))

    def dying(descriptor: int) -> None:
        if next(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        fsync(descriptor)

    os.fsync = dying


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
