"""What the service adds to a training: seconds until it steps, first and after a kill, and processor time."""

import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

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
LOOKED_S, PATIENCE_S = 60.0, 120.0  # the rarest thing that the service does beside a training comes once a minute
KILLS = 3
STARTED_S = 70.0  # what a start costs, the first of those things included, is not what running costs


def measure(rounds: int) -> Iterator[Limit]:
    """Both, in one service."""
    with own_service(cpu_slots="2") as service:
        dataset = packed(service)
        clips = {**PACK["source"], "size": 96, "seconds": 2.0}
        service.client.submit({**PACK, "dataset": "usual", "short_side": 80, "source": clips}).wait(PATIENCE_S)
        times = [(served(service), _bare(service, dataset)) for _ in range(rounds + 1)][1:]
        more = statistics.median(served - bare for served, bare in times)
        yield Limit("job start, more than torchrun's", "s", more, 2.0, rounds)
        start = statistics.median(bare for _, bare in times)
        again = statistics.median(_again(service) - start for _ in range(KILLS))
        yield Limit("killed to stepping, more than torchrun's", "s", again, 5.0, KILLS)
        yield Limit("service while training, of a core", "%", 100 * _share(service), 1.5, 1)


def packed(service: OwnService) -> Path:
    """The folder of what is trained on."""
    tiny = service.client.submit(PACK)
    tiny.wait(PATIENCE_S)
    return service.home / "datasets" / tiny.id


def served(service: OwnService) -> float:
    """Seconds from POST to the first step."""
    began = time.monotonic()
    job = service.client.submit(TRAINING)
    until(lambda: stepped(service.home / "jobs" / job.id / "epoch-1"))
    seconds = time.monotonic() - began
    job.cancel()
    until(lambda: job.refresh().final)
    return seconds


@contextmanager
def by_hand(service: OwnService, dataset: Path) -> Iterator[tuple[list[str], Path]]:
    """`torchrun` for the same spec without a service, and the folder that it runs in."""
    folder = service.home / "bare"
    folder.mkdir()
    (folder / "spec.json").write_text(json.dumps({**TRAINING, "precision": "fp32"}))
    (folder / "inputs.json").write_text(json.dumps({"dataset": {"path": str(dataset)}}))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=1"]
    yield [*torchrun, "-m", "cmac_core", str(folder / "spec.json"), "--run-dir", str(folder / "run")], folder / "run"
    shutil.rmtree(folder)


def _bare(service: OwnService, dataset: Path) -> float:
    """Seconds from `torchrun` to the first step."""
    with by_hand(service, dataset) as (command, run):
        began = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as child:
            until(lambda: stepped(run))
            seconds = time.monotonic() - began
            child.terminate()
    return seconds


def _again(service: OwnService) -> float:
    """Seconds from a SIGKILL to a supervisor and all below it until the job steps again, from its last checkpoint."""
    job = service.client.submit({**TRAINING, "checkpoints": {"every_epochs": 1}})
    until(lambda: told(service.home / "jobs" / job.id / "epoch-1", b'"type":"saved"'))
    ranks = [process for process in psutil.process_iter() if job.id in " ".join(_command(process))]
    supervisor = next(one for one in ranks[0].parents() if "worker.supervisor" in _command(one))
    began = time.monotonic()
    for process in (supervisor, *ranks):
        process.kill()
    until(lambda: stepped(service.home / "jobs" / job.id / "epoch-2"))
    seconds = time.monotonic() - began
    job.cancel()
    until(lambda: job.refresh().final)
    return seconds


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:  # it has ended
        return []


def _share(service: OwnService) -> float:
    """Processor time of the service while a training runs, in shares of one core."""
    job = service.client.submit(USUAL)
    until(lambda: stepped(service.home / "jobs" / job.id / "epoch-1"))
    time.sleep(STARTED_S)
    began, before = time.monotonic(), service.processor_s()
    time.sleep(LOOKED_S)
    spent = service.processor_s() - before
    share = spent / (time.monotonic() - began)
    job.cancel()
    until(lambda: job.refresh().final)
    return share


def stepped(folder: Path) -> bool:
    """Whether a run has told of a step."""
    return told(folder, b'"phase":"train"')


def told(folder: Path, what: bytes) -> bool:
    """Whether a run has told of something."""
    try:
        return what in (folder / "events.jsonl").read_bytes()
    except FileNotFoundError:
        return False


def until(true: Callable[[], bool]) -> None:
    """Wait for it. Raises RuntimeError when it does not come."""
    end = time.monotonic() + PATIENCE_S
    while not true():
        if time.monotonic() > end:
            raise RuntimeError(f"waited in vain for {PATIENCE_S:.0f} s")
        time.sleep(0.01)
