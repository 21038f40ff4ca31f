"""The machines, the queue, and who may use them."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Self
from uuid import UUID

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field
from sqlalchemy.orm import Session

from api.authentication import KeyHolderDep, OperatorDep, PrincipalDep, ViewerDep
from api.bodies import Because, NewKey, NewQuota, NodeLabels, Rotation, parse_body
from api.dependencies import SessionDep
from api.json_bodies import JsonBody, OptionalJsonBody
from api.openapi import problems, takes
from api.pages import Cursor, Limit, cut, link_next
from api.trail import TrailDep
from api.views.base import ListView, View
from api.views.data import AuditView, KeyView, NewKeyView
from api.views.jobs import JobRow
from store import audit, jobs, keys, line, nodes, quotas
from store.errors import Forbidden, NotFound
from store.keys import Principal, Role
from store.policy import HOUR
from store.states import DeviceState, NodeState
from store.tables import ApiKey

router = APIRouter(tags=["lab"])

Filter = Annotated[str | None, Query(max_length=200)]


class QueueRow(JobRow):
    """A waiting job and its place."""

    position: int


class ShareView(View):
    """What somebody has used of late, has now, and waits for."""

    project: str
    owner: str
    gpu_hours: float = Field(description="Of the last weeks, worth half after seven days; a CPU slot's hour is 0.02.")
    gpus: int = Field(description="Held now.")
    cpu_slots: int
    queued: int

    @classmethod
    def of(cls, share: line.Share) -> Self:
        """The view of a share."""
        return cls(gpu_hours=round(share.used_s / HOUR, 3), **share._asdict())


class QuotaView(View):
    """What a user or project may have at most; null is without limit."""

    subject: str
    max_gpus: int | None
    max_running: int | None
    max_queued: int | None
    share: float


class MeView(View):
    """Who a key is."""

    user: str
    role: str
    project: str | None
    key: str
    scopes: list[str] | None = Field(description="What the key is limited to; null: all that the role may.")


@router.get("/nodes")
def list_nodes(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[dict[str, Any]]:
    """Machines with their devices, what runs on them, and when they were last heard."""
    rows = nodes.inventory(session)
    return cut(request, response, rows, lambda row: str(row["id"]), limit=limit, cursor=cursor)


@router.get("/nodes/{node_id}", responses=problems(404))
def get_node(node_id: UUID, principal: ViewerDep, session: SessionDep) -> dict[str, Any]:
    """One machine."""
    return nodes.one(session, node_id)


@router.post(
    "/nodes/{node_id}/cordon",
    status_code=202,
    responses=problems(403, 404),
    openapi_extra=takes(Because, required=False),
)
def cordon_node(
    node_id: UUID, body: OptionalJsonBody, principal: OperatorDep, session: SessionDep, trail: TrailDep
) -> dict[str, Any]:
    """Give it nothing new; what runs there runs on. `{"reason": "..."}` is shown (operators)."""
    return _set_node(session, trail, node_id, NodeState.cordoned, body)


@router.post(
    "/nodes/{node_id}/drain",
    status_code=202,
    responses=problems(403, 404),
    openapi_extra=takes(Because, required=False),
)
def drain_node(
    node_id: UUID, body: OptionalJsonBody, principal: OperatorDep, session: SessionDep, trail: TrailDep
) -> dict[str, Any]:
    """Give it nothing new and ask what runs there to save and go on elsewhere (operators)."""
    return _set_node(session, trail, node_id, NodeState.draining, body)


@router.post("/nodes/{node_id}/ready", status_code=202, responses=problems(403, 404))
def ready_node(node_id: UUID, principal: OperatorDep, session: SessionDep, trail: TrailDep) -> dict[str, Any]:
    """Offer it again (operators)."""
    return _set_node(session, trail, node_id, NodeState.ready, None)


@router.put("/nodes/{node_id}/labels", responses=problems(403, 404), openapi_extra=takes(NodeLabels))
def put_node_labels(
    node_id: UUID, body: JsonBody, principal: OperatorDep, session: SessionDep, trail: TrailDep
) -> dict[str, Any]:
    """Set all labels of a machine; jobs ask for them by `resources.node_labels` (operators)."""
    labels = parse_body(NodeLabels, body).labels
    node = nodes.put_labels(session, node_id, labels)
    trail.write("node.labels", node.name, {"labels": labels})
    return nodes.one(session, node_id)


def _set_node(session: Session, trail: TrailDep, node_id: UUID, state: NodeState, body: Any) -> dict[str, Any]:
    reason = parse_body(Because, body or {}).reason
    node = nodes.set_state(session, node_id, state, reason)
    trail.write(f"node.{state}", node.name, {"reason": reason})
    return nodes.one(session, node_id)


@router.post("/devices/{device_id}/cordon", status_code=202, responses=problems(403, 404, 409))
def cordon_device(device_id: UUID, principal: OperatorDep, session: SessionDep, trail: TrailDep) -> dict[str, Any]:
    """Give out one device no more (operators)."""
    return _set_device(session, trail, device_id, DeviceState.cordoned)


@router.post("/devices/{device_id}/ready", status_code=202, responses=problems(403, 404, 409))
def ready_device(device_id: UUID, principal: OperatorDep, session: SessionDep, trail: TrailDep) -> dict[str, Any]:
    """Offer it again, also one that was found in use by nobody (`ghost`), once you have looked (operators)."""
    return _set_device(session, trail, device_id, DeviceState.ok)


def _set_device(session: Session, trail: TrailDep, device_id: UUID, state: DeviceState) -> dict[str, Any]:
    device = nodes.set_device_state(session, device_id, state)
    trail.write(f"device.{state}", str(device_id), {})
    return nodes.one(session, device.node_id)


@router.get("/queue")
def list_queue(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[QueueRow]:
    """Queued jobs in the order in which they are placed, each with the reason why it waits."""
    order = enumerate(jobs.queue(session, 10_000), start=1)
    rows = [(place, job) for place, job in order if principal.sees(job.project)]
    page = cut(request, response, rows, lambda row: str(row[1].id), limit=limit, cursor=cursor)
    items = [QueueRow(position=place, **JobRow.of(job).model_dump()) for place, job in page.items]
    return ListView(items=items, next_cursor=page.next_cursor)


@router.get("/queue/usage")
def list_usage(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[ShareView]:
    """Who has used how much of late: within a tier, and with equal shares, whoever stands higher goes first."""
    rows = [ShareView.of(share) for share in line.shares(session) if principal.sees(share.project)]
    return cut(request, response, rows, lambda row: f"{row.project}/{row.owner}", limit=limit, cursor=cursor)


@router.get("/quotas")
def list_quotas(
    request: Request,
    response: Response,
    principal: ViewerDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[QuotaView]:
    """Limits and shares; who is not listed has no limits and a share of 1."""
    rows = [QuotaView.model_validate(row) for row in quotas.listed(session)]
    return cut(request, response, rows, lambda row: row.subject, limit=limit, cursor=cursor)


@router.put("/quotas/{subject}", responses=problems(403, 404), openapi_extra=takes(NewQuota))
def put_quota(subject: str, body: JsonBody, principal: KeyHolderDep, session: SessionDep) -> QuotaView:
    """Set all limits of `user:NAME` or `project:NAME` (admins)."""
    new = parse_body(NewQuota, body)
    return QuotaView.model_validate(quotas.put(session, subject, new.model_dump(), principal))


@router.delete("/quotas/{subject}", status_code=204, responses=problems(403, 404))
def delete_quota(subject: str, principal: KeyHolderDep, session: SessionDep) -> None:
    """Back to no limits and a share of 1 (admins)."""
    quotas.remove(session, subject, principal)


@router.get("/me")
def get_me(principal: PrincipalDep) -> MeView:
    """Whose key this is and what it may do."""
    scopes = None if principal.scopes is None else sorted(principal.scopes)
    return MeView(user=principal.user, role=principal.role, project=principal.project, key=principal.key, scopes=scopes)


@router.get("/api-keys")
def list_keys(
    request: Request,
    response: Response,
    principal: KeyHolderDep,
    session: SessionDep,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[KeyView]:
    """Your keys; an admin's list holds everybody's. Never their secrets."""
    rows = [KeyView.model_validate(row) for row in keys.list_keys(session, _own(principal))]
    return cut(request, response, rows, lambda row: str(row.id), limit=limit, cursor=cursor)


@router.post("/api-keys", status_code=201, responses=problems(403), openapi_extra=takes(NewKey))
def create_key(body: JsonBody, principal: KeyHolderDep, session: SessionDep, trail: TrailDep) -> NewKeyView:
    """Make a key; the answer is the only place where it is shown."""
    new = parse_body(NewKey, body)
    user = new.user or principal.user
    if user != principal.user:
        principal.require(Role.admin)
    principal.require(new.role)
    project = new.project or principal.project
    if project is not None and not principal.sees(project):
        raise Forbidden(f"your key sees project {principal.project} alone", needs_role="admin")
    scopes = new.scopes or principal.scopes
    keys.require_scopes(principal, scopes)
    row, token = keys.create_key(session, user, new.name, new.role, project, new.days, scopes)
    told = {"user": user, "role": str(new.role), "project": project, "scopes": row.scopes}
    trail.write("key.create", row.prefix, told)
    return NewKeyView(key=token, **KeyView.model_validate(row).model_dump())


@router.post(
    "/api-keys/{key_id}/rotate",
    status_code=201,
    responses=problems(403, 404),
    openapi_extra=takes(Rotation, required=False),
)
def rotate_key(
    key_id: UUID, body: OptionalJsonBody, principal: KeyHolderDep, session: SessionDep, trail: TrailDep
) -> NewKeyView:
    """A new key in the place of one, which opens for `grace_hours` more. The answer is the only place to see it."""
    grace = timedelta(hours=parse_body(Rotation, body or {}).grace_hours)
    old = _find(keys.list_keys(session, _own(principal)), key_id)
    row, token = keys.rotate_key(session, old.id, principal, grace)
    trail.write("key.rotate", old.prefix, {"new": row.prefix, "grace_s": grace.total_seconds()})
    return NewKeyView(key=token, **KeyView.model_validate(row).model_dump())


@router.delete("/api-keys/{key_id}", status_code=204, responses=problems(404))
def revoke_key(key_id: UUID, principal: KeyHolderDep, session: SessionDep, trail: TrailDep) -> None:
    """It opens nothing from now on."""
    key = _find(keys.list_keys(session, _own(principal)), key_id)
    if key.revoked_at is None:
        keys.revoke_key(session, key.prefix)
        trail.write("key.revoke", key.prefix)


@router.get("/audit", responses=problems(403))
def list_audit(
    request: Request,
    response: Response,
    principal: OperatorDep,
    session: SessionDep,
    user: Filter = None,
    action: Annotated[str | None, Query(max_length=200, description="Its beginning: `job.`, `key.rotate`.")] = None,
    target: Filter = None,
    since: Annotated[datetime | None, Query(description="RFC 3339.")] = None,
    until: Annotated[datetime | None, Query(description="RFC 3339.")] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> ListView[AuditView]:
    """The trail of writes, newest first (operators). Nothing in it can be changed."""
    wanted = {"user": user, "action": action, "target": target, "since": since, "until": until}
    rows, following = audit.page(session, principal, wanted, limit, cursor)
    link_next(request, response, following)
    return ListView(items=[AuditView.model_validate(row) for row in rows], next_cursor=following)


def _own(principal: Principal) -> str | None:
    """Whose keys this caller may handle; None: everybody's."""
    return None if principal.role.includes(Role.admin) and principal.project is None else principal.user


def _find(rows: list[ApiKey], key_id: UUID) -> ApiKey:
    for row in rows:
        if row.id == key_id:
            return row
    raise NotFound(f"no API key {key_id}")
