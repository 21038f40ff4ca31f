"""What this machine has: GPUs by NVML where there is a driver, cores, memory, and who uses them."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil
import pynvml

MIB = 2**20
GPU_IS_FREE_BELOW = 1024  # MiB in use: a driver keeps some for itself


class Gpu(NamedTuple):
    """One GPU as NVML sees it now. `pids` are those of the host: in a container they may mean nothing."""

    number: int
    uuid: str
    model: str
    memory_mb: int
    used_mb: int
    use: float | None  # %, None where the driver does not say (MIG)
    pids: tuple[int, ...]


def gpus() -> list[Gpu]:
    """The GPUs of this machine; none where there is no driver or no device."""
    with _nvml() as there:
        return [_gpu(index) for index in range(pynvml.nvmlDeviceGetCount())] if there else []


def cores() -> int:
    """Cores that this process may use, not those of the whole machine."""
    return len(os.sched_getaffinity(0))


def memory_mb() -> int:
    return int(psutil.virtual_memory().total // MIB)


def default_cpu_slots(cores: int, gpus: int) -> int:
    """QUEUE 6: a quarter of the cores, at least 2; beside GPUs one, for packing and retrieval."""
    return 1 if gpus else max(2, cores // 4)


def machine(folder: Path, uuids: frozenset[str]) -> dict[str, float | None]:
    """Values of the sys/* curves: use of the machine, of the disk below `folder`, and of these GPUs, in percent."""
    values: dict[str, float | None] = {
        "sys/cpu": psutil.cpu_percent(),
        "sys/memory": psutil.virtual_memory().percent,
        "sys/disk": psutil.disk_usage(str(folder)).percent,
    }
    for gpu in gpus() if uuids else ():
        if gpu.uuid in uuids:
            values |= {
                f"sys/gpu{gpu.number}": gpu.use,
                f"sys/gpu{gpu.number}_memory": 100 * gpu.used_mb / gpu.memory_mb,
            }
    return values


def interface_of(address: str) -> str | None:
    """The network interface that has this address."""
    found = psutil.net_if_addrs().items()
    return next((name for name, has in found if any(one.address == address for one in has)), None)


def oom_kills() -> int:
    """How many processes of this control group the kernel has killed for want of memory; 0 where it does not say."""
    for file in _memory_events():
        try:
            lines = file.read_text().splitlines()
        except OSError:
            continue
        for line in lines:
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _memory_events() -> Iterator[Path]:
    """Where the count may stand: version 2 and 1, the group's own folder and (in a container) the root."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        for folder in (path.lstrip("/"), ""):
            if not controllers:
                yield Path("/sys/fs/cgroup") / folder / "memory.events"
            elif "memory" in controllers.split(","):
                yield Path("/sys/fs/cgroup/memory") / folder / "memory.oom_control"


@contextmanager
def _nvml() -> Iterator[bool]:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no library, no driver, no device: a machine without GPUs
        yield False
        return
    try:
        yield True
    finally:
        pynvml.nvmlShutdown()


def _gpu(index: int) -> Gpu:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    return Gpu(
        index,
        pynvml.nvmlDeviceGetUUID(handle),
        pynvml.nvmlDeviceGetName(handle),
        int(memory.total // MIB),
        int(memory.used // MIB),
        _use(handle),
        tuple(process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)),
    )


def _use(handle: object) -> float | None:
    try:
        return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    except pynvml.NVMLError_NotSupported:
        return None
