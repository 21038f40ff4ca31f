"""A lab without processes: jobs are run by hand, as scheduler, worker and supervisor would."""

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from cmac_core.events import AnyEvent, Saved
from cmac_core.specs import JOB_SPEC
from store import attempts, fence, jobs, nodes, record, tries
from store.ends import Reason
from store.fence import Lease
from store.keys import Principal, Role
from store.nodes import FoundDevice
from store.settings import settings
from store.states import DeviceKind
from store.tables import Dataset, Device, DeviceLease, Job, Node, User

SPECS: dict[str, dict[str, Any]] = {
    "pack": {"dataset": "made", "source": {"generate": "sounding-objects", "clips": 8}},
    "import": {"source": {"root": "media", "path": "weights.pt"}},
    "pretrain": {"dataset": "moving", "preset": "small", "model": {"bn_group": 8}},  # so that two ranks can share it
    "retrieval": {"dataset": "moving", "preset": "small", "checkpoint": {"random_init": True}},
    "probe": {"dataset": "moving", "preset": "small", "checkpoint": {"random_init": True}, "modality": "audio"},
    "attention": {"dataset": "moving", "preset": "small", "checkpoint": {"random_init": True}},
    "finetune": {"dataset": "moving", "preset": "small", "checkpoint": {"random_init": True}},
}

ADMIN = Principal("admin", Role.admin, key="k")


@dataclass
class Lab:
    """What tests do with jobs, in a session of their own."""

    session: Session
    principal: Principal

    def someone(self, name: str, role: Role = Role.submitter, project: str | None = None) -> Principal:
        self.session.execute(insert(User).values(name=name, role=str(role)).on_conflict_do_nothing())
        return Principal(name, role, project)

    def node(self, name: str = "here", slots: int = 2, gpus: int = 0) -> Node:
        found = [FoundDevice(DeviceKind.cpu, i) for i in range(slots)]
        found += [FoundDevice(DeviceKind.gpu, i, f"GPU-{name}-{i}", "H200", 143_000) for i in range(gpus)]
        return nodes.register(
            self.session, name, boot_id="b", storage_id="s", cpus=8, memory_mb=1000, devices=found, versions={}
        )

    def dataset(self, name: str = "moving", version: int = 1, **columns: Any) -> Dataset:
        values: dict[str, Any] = {
            "project": "default", "path": f"/data/{name}", "manifest_sha256": "0" * 64, "clips": 1000, "quarantined": 0,
            "with_audio": 1000, "hours": 0.1, "bytes": 1000, "media": "video", "labels": {"class": 8, "split": 2},
            "counts": {"train": 80, "test": 20},
        }  # fmt: skip
        dataset = Dataset(name=name, version=version, **values | columns)
        self.session.add(dataset)
        self.session.flush()
        return dataset

    def submit(self, kind: str = "pretrain", by: Principal | None = None, **changes: Any) -> Job:
        spec = JOB_SPEC.validate_python({"kind": kind} | SPECS[kind] | changes)
        return jobs.submit(self.session, spec, by or self.principal)

    def place(self, job: Job, node: Node | None = None) -> Lease:
        """On as many free devices as the job asks for."""
        node = node or self.session.scalars(select(Node).order_by(Node.name).limit(1)).one()
        kind = DeviceKind.gpu if job.gpus else DeviceKind.cpu
        held = select(DeviceLease.gpu_id).where(DeviceLease.released_at.is_(None))
        free = select(Device).where(Device.node_id == node.id, Device.kind == kind, Device.id.not_in(held))
        devices = self.session.scalars(free.order_by(Device.index).limit(job.gpus or job.cpu_slots)).all()
        lease = attempts.place(self.session, job.id, [(node.id, devices)])
        assert lease is not None
        return lease

    def claim(self, job: Job) -> Lease:
        lease = self.place(job)
        node = tries.newest(self.session, job.id)
        assert node is not None
        part = self.session.scalars(select(attempts.Part).where(attempts.Part.attempt_id == lease.attempt)).one()
        assert attempts.claim(self.session, lease.attempt, lease.epoch, part.node_id) == lease
        return lease

    def run(self, job: Job) -> Lease:
        """Placed, claimed, adopted and past the barrier."""
        lease = self.claim(job)
        attempts.adopt(self.session, lease, 1, 1, 1, "b")
        assert attempts.ready(self.session, lease)
        return lease

    def tell(self, lease: Lease, *events: AnyEvent) -> None:
        offset = self.offset(lease)
        fence.beat(self.session, lease, offset, offset + 1)
        record.record(self.session, lease, events)
        self.session.expire_all()  # rows are as others see them

    def offset(self, lease: Lease) -> int:
        return self.session.scalars(
            select(attempts.Part.events_offset).where(attempts.Part.attempt_id == lease.attempt)
        ).one()

    def save(
        self,
        job: Job,
        lease: Lease,
        step: int = 10,
        data: bytes = b"weights",
        kind: Literal["full", "weights"] = "full",
        **of_pass: float,
    ) -> None:
        """A checkpoint on disk, and told of."""
        self.tell(lease, self.saved(job, lease, step, data, kind, **of_pass))

    def saved(
        self,
        job: Job,
        lease: Lease,
        step: int = 10,
        data: bytes = b"weights",
        kind: Literal["full", "weights"] = "full",
        **of_pass: float,
    ) -> Saved:
        """A checkpoint on disk and the event that tells of it."""
        path = f"checkpoints/step-{step:08d}/state.pt"
        file = settings().attempt_folder(job.id, lease.epoch) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        told = {"path": path, "sha256": digest, "bytes": len(data), "kind": kind, "metrics": of_pass}
        return Saved(step=step, train_epoch=step / 10, **told)

    def finish(self, lease: Lease, reason: Reason = Reason.ok, **said: Any) -> Job:
        return attempts.finish(self.session, lease, reason, 0, **said)

    def succeed(self, job: Job) -> Lease:
        """A whole pretraining."""
        lease = self.run(job)
        self.save(job, lease)
        self.finish(lease)
        return lease

    def release(self, attempt: uuid.UUID) -> int:
        """As the loops of all its nodes would."""
        nodes = self.session.scalars(select(attempts.Part.node_id).where(attempts.Part.attempt_id == attempt)).all()
        return sum(attempts.release(self.session, attempt, node) for node in nodes)

    def leased(self, attempts_of: Sequence[uuid.UUID] = ()) -> int:
        live = select(DeviceLease).where(DeviceLease.released_at.is_(None))
        return len(self.session.scalars(live).all())

    def again(self, job: Job) -> Job:
        return self.session.get_one(Job, job.id, populate_existing=True)
