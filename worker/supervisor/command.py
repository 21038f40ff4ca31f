"""The command that runs a job's core, and the little that its processes may see of our environment."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from worker import marks
from worker.marks import Mark

# The core reads no settings. What is not here does not reach it: no database, no broker, no key of anyone.
PASSED_ON = {
    "HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "LOGNAME", "PATH", "PYTHONPATH", "SHELL", "TMPDIR", "TZ", "USER",
    "VIRTUAL_ENV", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "GLOO_SOCKET_IFNAME",
}  # fmt: skip
PASSED_ON_PREFIXES = ("LC_", "NCCL_")
READ_TIMEOUT = 300  # s, as long as a collective may take


class Meeting(NamedTuple):
    """How the ranks of several machines find each other, as one of these is told."""

    id: str
    nodes: int
    part: int
    endpoint: str  # HOST:PORT on part 0's machine, where torchrun keeps its store
    address: str  # of this machine; ranks are given in the order of addresses


def command(kind: str, ranks: int, spec: Path, folder: Path, meeting: Meeting | None = None) -> list[str]:
    """How the core starts. A pretraining always goes through torchrun; what has one rank saves its seconds."""
    # --keep-checkpoints: another job may name an old one, which the database alone knows.
    core = ["-m", "cmac_core", str(spec), "--run-dir", str(folder), "--keep-checkpoints"]
    if kind != "pretrain" and ranks == 1 and meeting is None:
        return [sys.executable, *core]
    where = ["--standalone"] if meeting is None else _rendezvous(meeting)
    # --max-restarts=0: we count restarts, in the database.
    torchrun = ["-m", "torch.distributed.run", *where, f"--nproc-per-node={ranks}", "--max-restarts=0"]
    return [sys.executable, *torchrun, *core]


def _rendezvous(meeting: Meeting) -> list[str]:
    # Said, not guessed: torchrun takes host names for addresses, and gives up a store that is silent for a minute.
    conf = f"is_host={int(meeting.part == 0)},read_timeout={READ_TIMEOUT}"
    return [
        f"--nnodes={meeting.nodes}",
        "--rdzv-backend=c10d",
        f"--rdzv-endpoint={meeting.endpoint}",
        f"--rdzv-id={meeting.id}",
        f"--rdzv-conf={conf}",
        f"--local-addr={meeting.address}",
    ]


def environment(
    mark: Mark, threads: int, gpus: Sequence[str], outer: Mapping[str, str], interface: str | None = None
) -> dict[str, str]:
    """The child's environment. GPUs by UUID: the order of their numbers differs from tool to tool.

    `interface`: to other machines; gloo would take the one that this machine's name stands for, often loopback.
    """
    network = {"GLOO_SOCKET_IFNAME": interface} if interface else {}
    passed = network | {k: v for k, v in outer.items() if k in PASSED_ON or k.startswith(PASSED_ON_PREFIXES)}
    return passed | {
        marks.VARIABLE: str(mark),
        "CUDA_VISIBLE_DEVICES": ",".join(gpus),  # empty hides them all: a CPU slot is no leave to take a GPU
        "OMP_NUM_THREADS": str(threads),
        "PYTHONSAFEPATH": "1",  # a file in the run's folder is no module
        "PYTHONUNBUFFERED": "1",  # log.txt is read while it grows
    }


def threads_per_rank(ranks: int, devices: int, slots: int, cores: int) -> int:
    """Cores of the leased devices (each has its share of the machine's), divided among the ranks, at least one."""
    return max(1, cores * devices // max(1, slots) // ranks)
