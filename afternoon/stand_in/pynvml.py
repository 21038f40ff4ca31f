"""NVML of a machine without GPUs: four of them, used by those processes of this node that were given them."""

from types import SimpleNamespace

from store.settings import settings
from worker.marks import marked, variable

GPUS, MODEL = 4, "Simulated 80GB"
MIB = 2**20
TOTAL, IDLE, USED = 81_920 * MIB, 512 * MIB, 40_960 * MIB

_users: dict[str, list[int]] = {}


class NVMLError(Exception):
    """No driver; never here."""


class NVMLError_NotSupported(NVMLError):
    """Of MIG; never here."""


def nvmlInit() -> None:
    """Look once who uses what: a process uses the GPUs that its environment leaves it, as CUDA sees to."""
    _users.clear()
    for pid in marked(settings().installation, settings().node_name):
        for uuid in filter(None, (variable(pid, "CUDA_VISIBLE_DEVICES") or "").split(",")):
            _users.setdefault(uuid, []).append(pid)


def nvmlShutdown() -> None:
    """Nothing was opened."""


def nvmlDeviceGetCount() -> int:
    return GPUS


def nvmlDeviceGetHandleByIndex(index: int) -> int:
    return index


def nvmlDeviceGetUUID(handle: int) -> str:
    return f"GPU-{settings().installation}-{settings().node_name}-{handle}"


def nvmlDeviceGetName(_: int) -> str:
    return MODEL


def nvmlDeviceGetMemoryInfo(handle: int) -> SimpleNamespace:
    used = USED if nvmlDeviceGetComputeRunningProcesses(handle) else IDLE
    return SimpleNamespace(total=TOTAL, used=used)


def nvmlDeviceGetUtilizationRates(handle: int) -> SimpleNamespace:
    return SimpleNamespace(gpu=95 if nvmlDeviceGetComputeRunningProcesses(handle) else 0)


def nvmlDeviceGetComputeRunningProcesses(handle: int) -> list[SimpleNamespace]:
    return [SimpleNamespace(pid=pid) for pid in _users.get(nvmlDeviceGetUUID(handle), [])]
