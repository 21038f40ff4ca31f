"""Receivers that are told of events. A delivery is a row of the outbox, written with what it tells of (API 8)."""

import secrets
from collections.abc import Collection
from typing import Any, Literal, get_args
from uuid import UUID

from sqlalchemy import any_, func, or_, select
from sqlalchemy.orm import Session

from store import audit
from store.errors import Forbidden, NotFound, QuotaExceeded
from store.keys import Principal, Role
from store.states import ACTIVE, JobState
from store.tables import Device, Experiment, Job, Node, Outbox, Project, User, Webhook

Event = Literal[
    "job.started",
    "job.succeeded",
    "job.failed",
    "job.cancelled",
    "job.restarted",
    "experiment.finished",
    "node.lost",
    "gpu.ghost",
]
EVENTS: tuple[str, ...] = get_args(Event)
PING = "ping"  # a test; nobody registers for it
MOST = 20  # of one owner
KIND = "webhook"  # of an outbox row
SHOWN = 1000  # newest deliveries


def add(session: Session, url: str, events: Collection[str], project: str | None, principal: Principal) -> Webhook:
    """Register a receiver; its secret is in the row. The caller has looked at where the URL leads.

    Raises Forbidden, NotFound (no such project), QuotaExceeded.
    """
    principal.require(Role.submitter)
    project = project or principal.project
    if project is not None:
        _check(session, project, principal)
    # Two requests of one owner are counted one after the other.
    session.execute(select(User.id).where(User.name == principal.user).with_for_update(key_share=True))
    used = session.scalar(select(func.count()).select_from(Webhook).where(Webhook.owner == principal.user)) or 0
    if used >= MOST:
        raise QuotaExceeded(f"{principal.user} has {used} webhooks; remove one first", limit=MOST, used=used)
    secret = f"cmacwh_{secrets.token_urlsafe(32)}"
    hook = Webhook(project=project, owner=principal.user, url=url, secret=secret, events=sorted(set(events)))
    session.add(hook)
    session.flush()
    session.refresh(hook)
    audit.write(session, principal, "webhook.add", str(hook.id), after={"events": hook.events, "project": project})
    return hook


def listed(session: Session, principal: Principal) -> list[Webhook]:
    """One's own, newest first; operators see those of everybody. A URL may hold a secret, so nobody else does."""
    query = select(Webhook).order_by(Webhook.created_at.desc(), Webhook.id)
    return [hook for hook in session.scalars(query) if _may_see(hook, principal)]


def get(session: Session, webhook_id: UUID, principal: Principal) -> Webhook:
    """Raises NotFound, also for one of somebody else."""
    hook = session.get(Webhook, webhook_id, populate_existing=True)
    if hook is None or not _may_see(hook, principal):
        raise NotFound(f"no webhook {webhook_id}")
    return hook


def remove(session: Session, webhook_id: UUID, principal: Principal) -> None:
    """It and its deliveries are gone. Raises NotFound."""
    hook = get(session, webhook_id, principal)
    audit.write(session, principal, "webhook.remove", str(hook.id), before={"events": hook.events})
    session.delete(hook)
    session.flush()


def ping(session: Session, webhook_id: UUID, principal: Principal) -> Outbox:
    """A delivery that tells of nothing, sent at once and once; one that arrives enables the webhook again.

    Raises NotFound.
    """
    hook = get(session, webhook_id, principal)
    audit.write(session, principal, "webhook.ping", str(hook.id))
    return _deliver(session, hook.id, PING, {"by": principal.user})


def deliveries(session: Session, hook: Webhook, limit: int = SHOWN) -> list[Outbox]:
    """Newest first."""
    query = select(Outbox).where(Outbox.webhook_id == hook.id).order_by(Outbox.created_at.desc(), Outbox.id)
    return list(session.scalars(query.limit(limit)))


def redeliver(session: Session, webhook_id: UUID, delivery_id: UUID, principal: Principal) -> Outbox:
    """Send a delivery once more, under its old id. Raises NotFound."""
    hook = get(session, webhook_id, principal)
    query = select(Outbox).where(Outbox.id == delivery_id, Outbox.webhook_id == hook.id)
    row = session.scalar(query.with_for_update().execution_options(populate_existing=True))
    if row is None:
        raise NotFound(f"webhook {webhook_id} has no delivery {delivery_id}")
    audit.write(session, principal, "webhook.redeliver", str(delivery_id))
    row.sent_at, row.gave_up_at, row.available_at = None, None, func.now()
    session.flush()
    session.refresh(row)
    return row


def tell_of_job(session: Session, job: Job, was: JobState) -> None:
    """What a job's move from `was` is to the outside, if anything."""
    if job.state is JobState.queued:
        event = "job.restarted" if was in ACTIVE else None
    else:
        event = {JobState.running: "job.started"}.get(job.state, f"job.{job.state}")
    if event not in EVENTS:
        return
    plain = ("name", "kind", "project", "owner", "labels", "epoch", "reason", "detail", "hint")
    told = {"id": str(job.id), "state": str(job.state)} | {name: getattr(job, name) for name in plain}
    links = {"self": f"/jobs/{job.id}", "result": f"/results/{job.id}"}
    _tell(session, event, {"job": told, "links": links}, job.project)


def tell_of_experiment(session: Session, experiment: Experiment, jobs: dict[str, int]) -> None:
    """All its jobs are final: `jobs`, state -> how many."""
    told = {"id": str(experiment.id), "name": experiment.name, "owner": experiment.owner, "recipe": experiment.recipe}
    links = {"self": f"/experiments/{experiment.id}", "result": f"/results/{experiment.id}"}
    data = {"experiment": told | {"project": experiment.project, "jobs": jobs}, "links": links}
    _tell(session, "experiment.finished", data, experiment.project)


def tell_of_node(session: Session, node: Node) -> None:
    """A machine is not heard any more."""
    _tell(session, "node.lost", {"node": {"id": str(node.id), "name": node.name, "reason": node.reason}})


def tell_of_ghost(session: Session, node: Node, device: Device) -> None:
    """A device's memory is in use, and nobody is there."""
    told = {"id": str(device.id), "kind": str(device.kind), "index": device.index, "model": device.model}
    _tell(session, "gpu.ghost", {"node": {"id": str(node.id), "name": node.name}, "device": told})


def _tell(session: Session, event: str, data: dict[str, Any], project: str | None = None) -> None:
    """A delivery for each webhook that wants it. Machines (no project) are everybody's, as in GET /nodes."""
    wanted = select(Webhook.id).join(User, User.name == Webhook.owner)
    wanted = wanted.where(Webhook.disabled_at.is_(None), ~User.disabled, any_(Webhook.events) == event)
    if project is not None:
        wanted = wanted.where(or_(Webhook.project.is_(None), Webhook.project == project))
    for hook in session.scalars(wanted.order_by(Webhook.id)).all():
        _deliver(session, hook, event, data)


def _deliver(session: Session, webhook_id: UUID, event: str, data: dict[str, Any]) -> Outbox:
    row = Outbox(kind=KIND, queue=event, payload=data, webhook_id=webhook_id)
    session.add(row)
    session.flush()
    return row


def _check(session: Session, project: str, principal: Principal) -> None:
    if not principal.sees(project):
        raise Forbidden(f"your key is for the project {principal.project}, not for {project}")
    if session.scalar(select(Project.id).where(Project.name == project)) is None:
        raise NotFound(f"there is no project {project}")


def _may_see(hook: Webhook, principal: Principal) -> bool:
    if principal.project is not None and hook.project != principal.project:
        return False
    return hook.owner == principal.user or principal.role.includes(Role.operator)
