"""The tries of a job, as people look at them."""

from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.tables import Attempt, Device, DeviceLease, Node, Part


def of_job(session: Session, job_id: UUID) -> list[dict[str, Any]]:
    """Every try, oldest first: state, node, devices, times, reason, exit code, inputs, versions."""
    tried = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.epoch)
    return [_told(session, attempt) for attempt in session.scalars(tried).all()]


def newest(session: Session, job_id: UUID) -> Attempt | None:
    """The latest attempt of a job, live or not."""
    query = select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.epoch.desc()).limit(1)
    return session.scalars(query).first()


def parts_of(session: Session, job_id: UUID, epoch: int) -> int:
    """How many machines an attempt has, or had; 0 when there is no such attempt."""
    query = select(func.count()).select_from(Part).join(Attempt, Attempt.id == Part.attempt_id)
    return session.scalar(query.where(Attempt.job_id == job_id, Attempt.epoch == epoch)) or 0


def _told(session: Session, attempt: Attempt) -> dict[str, Any]:
    plain = ("id", "epoch", "state", "reason", "detail", "hint", "exit_code", "desired", "stop_for", "resume_step")
    times = ("progress", "versions", "world_size", "replacements", "inputs", "created_at", "running_at", "exited_at")
    parts = select(Part, Node.name).join(Node, Node.id == Part.node_id).where(Part.attempt_id == attempt.id)
    leased = select(Device).join(DeviceLease, DeviceLease.gpu_id == Device.id)
    leased = leased.where(DeviceLease.attempt_id == attempt.id).order_by(Device.node_id, Device.index)
    return {name: getattr(attempt, name) for name in (*plain, *times)} | {
        "parts": [
            {"part": part.part, "node": node, "state": part.state, "heartbeat_at": part.heartbeat_at, "pid": part.pid}
            for part, node in session.execute(parts.order_by(Part.part))
        ],
        "devices": [
            {"id": device.id, "kind": device.kind, "index": device.index, "model": device.model}
            for device in session.scalars(leased)
        ],
    }
