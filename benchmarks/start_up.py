"""What the service adds to a training: seconds until its first step, against torchrun alone, and processor time."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.own_service import OwnService, own_service
from benchmarks.rounds import Limit

PACK: dict[str, Any] = {
    "kind": "pack", "dataset": "tiny", "short_side": 48, "resources": {"cpu_slots": 1},
    "source": {"generate": "sounding-objects", "clips": 64, "classes": 2, "size": 48, "seconds": 1.5},
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "kind": "pretrain", "dataset": "tiny", "scale": "small", "resources": {"cpu_slots": 1},
    "data": {"frames": 4, "fps": 8, "crop": 32, "short_side": [32, 40], "workers": 0},
    "model": {"width": 4, "head": {"dim": 16}, "saliency": {"hidden": 8}, "bn_group": 4},
    "moco": {"K": 16}, "optim": {"batch": 8, "epochs": 2000, "warmup_epochs": 0},
}  # fmt: skip
# As people train on two cores: a few steps a second, and so as much to tell as that; 64 steps from save to save, as
# with a thousand clips.
USUAL: dict[str, Any] = {
    "kind": "pretrain", "dataset": "usual", "scale": "small", "resources": {"cpu_slots": 1}, "optim": {"epochs": 500},
    "checkpoints": {"every_epochs": 16},
}  # fmt: skip
LOOKED_S, PATIENCE_S = 30.0, 120.0


def measure(rounds: int) -> Iterator[Limit]:
    """Both, in one service."""
    with own_service(cpu_slots="2") as service:
        tiny = service.client.submit(PACK)
        tiny.wait(PATIENCE_S)
        dataset = service.home / "datasets" / tiny.id
        clips = {**PACK["source"], "size": 96, "seconds": 2.0}
        service.client.submit({**PACK, "dataset": "usual", "short_side": 80, "source": clips}).wait(PATIENCE_S)
        times = [(_served(service), _bare(service, dataset)) for _ in range(rounds + 1)][1:]
        more = statistics.median(served - bare for served, bare in times)
        yield Limit("job start, more than torchrun's", "s", more, 2.0, rounds)
        yield Limit("service while training, of a core", "%", 100 * _share(service), 1.5, 1)


def _served(service: OwnService) -> float:
    """Seconds from POST to the first step."""
    began = time.monotonic()
    job = service.client.submit(TRAINING)
    _until(lambda: _stepped(service.home / "jobs" / job.id / "epoch-1"))
    seconds = time.monotonic() - began
    job.cancel()
    _until(lambda: job.refresh().final)
    return seconds


def _bare(service: OwnService, dataset: Path) -> float:
    """Seconds from `torchrun` to the first step, for the same spec by hand."""
    folder = service.home / "bare"
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps({**TRAINING, "precision": "fp32"}))
    (folder / "inputs.json").write_text(json.dumps({"dataset": {"path": str(dataset)}}))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    began = time.monotonic()
    core = ["-m", "cmac_core", str(folder / "spec.json"), "--run-dir", str(folder / "run")]
    with subprocess.Popen([*torchrun, *core], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
        _until(lambda: _stepped(folder / "run"))
        seconds = time.monotonic() - began
        child.terminate()
    shutil.rmtree(folder)
    return seconds


def _share(service: OwnService) -> float:
    """Processor time of the service while a training runs, in shares of one core."""
    job = service.client.submit(USUAL)
    _until(lambda: _stepped(service.home / "jobs" / job.id / "epoch-1"))
    time.sleep(5.0)  # what a start costs is not what running costs
    began, before = time.monotonic(), service.processor_s()
    time.sleep(LOOKED_S)
    spent = service.processor_s() - before
    share = spent / (time.monotonic() - began)
    job.cancel()
    _until(lambda: job.refresh().final)
    return share


def _stepped(folder: Path) -> bool:
    """Whether a run has told of a step."""
    try:
        return b'"phase":"train"' in (folder / "events.jsonl").read_bytes()
    except FileNotFoundError:
        return False


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {PATIENCE_S:.0f} s")
        time.sleep(0.01)
