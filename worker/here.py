"""This machine as the database knows it."""

import os
import socket
import sys
import uuid
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from store import database, nodes
from store.fence import Lease
from store.nodes import FoundDevice
from store.settings import settings
from store.states import DeviceKind
from store.tables import Node
from worker import inventory
from worker.inventory import Gpu
from worker.marks import Mark, marked
from worker.processes import boot_id

LOOPBACK = "127.0.0.1"
SLOT_WEIGHT = 0.02  # of a CPU slot, where a GPU is 1


def register(session: Session) -> Node:
    """Tell the database of this machine; its row is made or brought up to date."""
    return nodes.register(
        session,
        settings().node_name,
        boot_id=boot_id(),
        storage_id=storage_id(settings().jobs_dir),
        cpus=inventory.cores(),
        memory_mb=inventory.memory_mb(),
        devices=devices(),
        versions={"python": sys.version.split()[0]},
        address=address(),
    )


def address() -> str:
    """Where other machines reach this one: as its settings say, else the address it reaches the database from."""
    if settings().node_address is not None:
        return str(settings().node_address)
    host = make_url(database.url()).host
    if not host:  # a socket in the home: there is one machine
        return LOOPBACK
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, 1))  # sends nothing, and finds the way
        except OSError:
            return LOOPBACK
        return str(probe.getsockname()[0])


def node_id(session: Session) -> uuid.UUID | None:
    """The id under which this machine is registered, None before its node loop has done so."""
    return session.scalar(select(Node.id).where(Node.name == settings().node_name))


def mark(lease: Lease) -> Mark:
    """The mark of a part's processes on this machine."""
    return Mark(settings().installation, settings().node_name, lease.attempt, lease.epoch, lease.part)


def slots(gpus: int) -> int:
    """How many CPU slots this machine offers."""
    return settings().cpu_slots or inventory.default_cpu_slots(inventory.cores(), gpus)


def devices() -> list[FoundDevice]:
    """GPUs and CPU slots as they are now."""
    gpus = inventory.gpus()
    ours = set(marked(settings().installation, settings().node_name)) if gpus else set()
    cpus = [FoundDevice(DeviceKind.cpu, index, weight=SLOT_WEIGHT) for index in range(slots(len(gpus)))]
    return [_found(gpu, ours) for gpu in gpus] + cpus


def storage_id(jobs_dir: Path) -> str:
    """Which storage this is: nodes that read the same id here share it, and can go on with each other's jobs."""
    jobs_dir.mkdir(parents=True, exist_ok=True)
    file = jobs_dir / "storage_id"
    if not file.exists():
        draft = jobs_dir / f"storage_id.{uuid.uuid4().hex}"
        draft.write_text(uuid.uuid4().hex)
        try:
            os.link(draft, file)  # the first of several wins
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    return file.read_text().strip()


def _found(gpu: Gpu, ours: set[int]) -> FoundDevice:
    # In a container NVML names pids of the host, or none at all: while something of ours runs, nobody is accused.
    foreign = sorted(set(gpu.pids) - ours) if not set(gpu.pids) & ours else []
    ghost = not gpu.pids and not ours and gpu.used_mb >= inventory.GPU_IS_FREE_BELOW
    held = {"pids": foreign, "memory_mb": gpu.used_mb} if foreign else None
    health = {"use": gpu.use, "used_mb": float(gpu.used_mb)}
    facts = (DeviceKind.gpu, gpu.number, gpu.uuid, gpu.model, gpu.memory_mb)
    return FoundDevice(*facts, foreign=held, ghost=ghost, health=health)
