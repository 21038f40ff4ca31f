"""Every call, each role, one's own things, a colleague's, and those of another project."""

import hashlib
import re
import uuid
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import pytest
from sqlalchemy import delete, update

from cmac_core.events import Saved
from store import database, webhooks
from store.keys import Principal, Role, Scope
from store.states import DeviceKind
from store.tables import ApiKey, Cell, Dataset, Device, Experiment, Webhook

Whose = Literal["own", "colleague's", "foreign"]
Rule = Literal["open", "see", "look", "submit", "change", "handle", "own", "operate", "rule"]

# open: nobody is asked for a key. see: whoever is in its project. look: anybody with a key. submit: not for viewers.
# change: its owner, and operators. handle: the same, and nobody else sees it. own: its owner, and admins.
# operate: operators, rule: admins, of the whole lab. Who asks for what is foreign has a key for another project.
# The second column is the scope that a limited key needs.
CALLS: dict[str, tuple[Rule, str | None]] = {
    "GET /healthz": ("open", None),
    "GET /readyz": ("open", None),
    "GET /metrics": ("open", None),
    "GET /version": ("open", None),
    "POST /session": ("open", None),
    "DELETE /session": ("open", None),
    "GET /me": ("look", None),
    "GET /jobs": ("look", "read"),
    "POST /jobs": ("submit", "submit"),
    "GET /jobs/{job_id}": ("see", "read"),
    "PATCH /jobs/{job_id}": ("change", "submit"),
    "POST /jobs/{job_id}/cancel": ("change", "submit"),
    "POST /jobs/{job_id}/pause": ("change", "submit"),
    "POST /jobs/{job_id}/resume": ("change", "submit"),
    "POST /jobs/{job_id}/hold": ("change", "submit"),
    "POST /jobs/{job_id}/release": ("change", "submit"),
    "POST /jobs/{job_id}/retry": ("change", "submit"),
    "GET /jobs/{job_id}/attempts": ("see", "read"),
    "GET /jobs/{job_id}/events": ("see", "read"),
    "GET /jobs/{job_id}/artifacts": ("see", "read"),
    "GET /jobs/{job_id}/checkpoints": ("see", "read"),
    "GET /jobs/{job_id}/logs": ("see", "read"),
    "GET /jobs/{job_id}/metrics": ("see", "read"),
    "GET /jobs/{job_id}/events/stream": ("see", "read"),
    "GET /jobs/{job_id}/logs/stream": ("see", "read"),
    "GET /jobs/{job_id}/metrics/stream": ("see", "read"),
    "GET /experiments": ("look", "read"),
    "GET /experiments/{experiment_id}": ("see", "read"),
    "GET /experiments/{experiment_id}/table": ("see", "read"),
    "POST /experiments/{experiment_id}/cancel": ("change", "submit"),
    "POST /experiments/{experiment_id}/retry": ("change", "submit"),
    "GET /results": ("look", "read"),
    "GET /results/{job_id}": ("see", "read"),
    "GET /results/{job_id}/attention": ("see", "read"),
    "GET /artifacts/{sha256}": ("see", "read"),
    "GET /datasets": ("look", "read"),
    "GET /datasets/{reference}": ("see", "read"),
    "GET /datasets/{reference}/quarantine": ("see", "read"),
    "GET /checkpoints": ("look", "read"),
    "POST /checkpoints": ("submit", "submit"),
    "GET /checkpoints/{checkpoint_id}": ("see", "read"),
    "GET /checkpoints/{checkpoint_id}/file": ("see", "read"),
    "GET /checkpoints/{checkpoint_id}/card": ("see", "read"),
    "GET /roots": ("look", "read"),
    "POST /roots": ("operate", "operate"),
    "GET /nodes": ("look", "read"),
    "GET /nodes/{node_id}": ("look", "read"),
    "PUT /nodes/{node_id}/labels": ("operate", "operate"),
    "POST /nodes/{node_id}/cordon": ("operate", "operate"),
    "POST /nodes/{node_id}/drain": ("operate", "operate"),
    "POST /nodes/{node_id}/ready": ("operate", "operate"),
    "POST /devices/{device_id}/cordon": ("operate", "operate"),
    "POST /devices/{device_id}/ready": ("operate", "operate"),
    "GET /queue": ("look", "read"),
    "GET /queue/usage": ("look", "read"),
    "GET /projects": ("look", "read"),
    "POST /projects": ("operate", "operate"),
    "GET /users": ("operate", "read"),
    "POST /users": ("rule", "admin"),
    "PATCH /users/{name}": ("rule", "admin"),
    "GET /quotas": ("look", "read"),
    "PUT /quotas/{subject}": ("rule", "admin"),
    "DELETE /quotas/{subject}": ("rule", "admin"),
    "GET /api-keys": ("look", "read"),
    "POST /api-keys": ("look", "admin"),
    "POST /api-keys/{key_id}/rotate": ("own", "admin"),
    "DELETE /api-keys/{key_id}": ("own", "admin"),
    "GET /audit": ("operate", "read"),
    "GET /webhooks": ("submit", "read"),
    "POST /webhooks": ("submit", "submit"),
    "GET /webhooks/{webhook_id}": ("handle", "read"),
    "POST /webhooks/{webhook_id}/ping": ("handle", "submit"),
    "GET /webhooks/{webhook_id}/deliveries": ("handle", "read"),
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": ("handle", "submit"),
    "DELETE /webhooks/{webhook_id}": ("handle", "submit"),
    "POST /checkpoints/{checkpoint_id}/pin": ("change", "submit"),
    "POST /checkpoints/{checkpoint_id}/unpin": ("change", "submit"),
    "DELETE /checkpoints/{checkpoint_id}": ("change", "submit"),
    "DELETE /datasets/{dataset_id}": ("change", "submit"),
    "DELETE /jobs/{job_id}": ("change", "submit"),
}


class Asker(NamedTuple):
    """Somebody with a key, and the things that they ask for."""

    http: Any
    ids: dict[str, str]


def allowed(rule: Rule, role: Role, whose: Whose) -> set[int]:
    """Right answers of a guard; without any, it has to let pass."""
    if rule in ("open", "look"):
        return set()
    if rule == "see":
        return {404} if whose == "foreign" else set()
    if rule == "own":
        return set() if whose == "own" or (role is Role.admin and whose != "foreign") else {404}
    if rule == "submit":
        return set() if role.includes(Role.submitter) else {403}
    if rule == "handle" and role.includes(Role.submitter):
        return set() if whose == "own" or (whose != "foreign" and role.includes(Role.operator)) else {404}
    if rule in ("change", "handle"):
        if not role.includes(Role.submitter):
            return {403}
        if whose == "foreign":
            return {404}
        return set() if whose == "own" or role.includes(Role.operator) else {403}
    needed = Role.operator if rule == "operate" else Role.admin
    return set() if role.includes(needed) and whose != "foreign" else {403}


def things(lab: Any, owner: str, project: str) -> dict[str, str]:
    """One of everything that belongs to somebody: a job that has ended with files, an experiment, a dataset."""
    token = lab.key(Role.submitter, user=owner)
    name = f"d-{uuid.uuid4().hex[:8]}"
    dataset = lab.dataset(name, project=project)
    with lab.client(token) as http:
        body = {
            "kind": "pretrain", "dataset": f"{name}@1", "preset": "small", "resources": {"cpu_slots": 1},
            "queue": {"project": project},
        }  # fmt: skip
        answer = http.post("/jobs", json=body)
        assert answer.status_code == 202, answer.text
        job = answer.json()["id"]
        lease = lab.start(job)
        data = uuid.uuid4().bytes
        folder = lab.folder(job) / "checkpoints" / "step-00000001"
        folder.mkdir(parents=True)
        (folder / "state.pt").write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        path = "checkpoints/step-00000001/state.pt"
        saved = Saved(step=1, train_epoch=1, path=path, sha256=digest, bytes=len(data), kind="full")
        lab.tell(lease, saved, lab.artifact(job, "t", data, "text/plain", "encoders", step=1))
        (lab.folder(job) / "log.txt").write_text("said\n")
        lab.succeed(lease)
        checkpoint = http.get(f"/jobs/{job}/checkpoints").json()["items"][0]["id"]
        key = http.post("/api-keys", json={"name": "k", "role": "viewer"}).json()["id"]
    with database.sessions.begin() as session:
        made = Experiment(project=project, owner=owner, scale="small", spec={"seeds": [0]}, outline={"tables": []})
        session.add(made)
        session.flush()
        cell = {"cell": "t/r/0", "position": 0, "table": "t", "row": "r", "seed": 0}
        session.add(Cell(experiment_id=made.id, job_id=uuid.UUID(job), **cell))
        session.execute(update(Dataset).where(Dataset.id == dataset.id).values(job_id=uuid.UUID(job)))
        experiment = str(made.id)
        mine = Principal(owner, Role.submitter)
        hook = webhooks.add(session, "https://receiver.example/", ["job.failed"], project, mine)
        delivery = webhooks.ping(session, hook.id, mine)
        told = {"webhook_id": str(hook.id), "delivery_id": str(delivery.id)}
    return {
        "job_id": job, "experiment_id": experiment, "sha256": digest, "checkpoint_id": checkpoint,
        "reference": f"{name}@1", "dataset_id": str(dataset.id), "key_id": key, **told,
    }  # fmt: skip


@pytest.fixture
def asker(lab: Any, role: Role, whose: Whose) -> Iterator[Asker]:
    me = f"u-{uuid.uuid4().hex[:8]}"
    home, other = f"p-{uuid.uuid4().hex[:8]}", f"p-{uuid.uuid4().hex[:8]}"
    token = lab.key(role, home if whose == "foreign" else None, user=me)
    lab.key(Role.viewer, home)
    lab.key(Role.viewer, other)
    owner = me if whose == "own" else f"u-{uuid.uuid4().hex[:8]}"
    ids = things(lab, owner, other if whose == "foreign" else home)
    with database.sessions.begin() as session:
        device = session.query(Device).filter_by(node_id=lab.node, kind=DeviceKind.cpu, index=63).one()
        ids |= {"node_id": str(lab.node), "device_id": str(device.id), "subject": f"user:{owner}", "name": owner}
    assert lab.http.put(f"/quotas/user:{owner}", json={"max_queued": 500}).status_code in (200, 201)
    with lab.client(token) as http:
        yield Asker(http, ids)
    with database.sessions.begin() as session:
        session.execute(delete(Webhook))
    lab.http.post(f"/nodes/{lab.node}/ready")
    lab.http.post(f"/devices/{device.id}/ready")


def ask(asker: Asker, call: str) -> tuple[int, str]:
    """The status of a call with a body that says as little as it may."""
    method, template = call.split()
    path = re.sub(r"\{(\w+)\}", lambda found: asker.ids[found[1]], template)
    headers = {"If-Match": "*"} if method == "PATCH" else {}
    body = {"name": "other"} if method == "PATCH" else {"role": "viewer"} if path == "/api-keys" else {}
    if path.endswith("/stream"):
        with asker.http.stream(method, path) as answer:
            return int(answer.status_code), "" if answer.status_code == 200 else answer.read().decode()
    answer = asker.http.request(
        method, path, headers=headers, json=body if method in ("PATCH", "PUT", "POST") else None
    )
    return int(answer.status_code), answer.text[:1000]


def test_every_call_stands_in_the_matrix(lab: Any) -> None:
    paths = lab.http.get("/openapi.json").json()["paths"]
    assert {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} == set(CALLS)


@pytest.mark.parametrize(
    ("role", "whose"),
    [
        (role, whose)
        for role in Role
        for whose in ("own", "colleague's", "foreign")
        if (role, whose) != (Role.viewer, "own")  # they make nothing
    ],
)
def test_each_role_may_do_what_the_matrix_says_and_no_more(asker: Asker, role: Role, whose: Whose) -> None:
    wrong = {}
    for call, (rule, _) in CALLS.items():
        status, text = ask(asker, call)
        right = allowed(rule, role, whose)
        if (status not in right) if right else (status in (401, 403, 404)):
            wrong[call] = (status, sorted(right), text)
        assert status < 500, (call, text)
    assert not wrong


@pytest.mark.parametrize("scope", Scope)
def test_a_limited_key_may_what_its_scope_says_and_no_more(lab: Any, scope: Scope) -> None:
    """An admin's key, so that nothing but the scope is in its way."""
    user = f"u-{uuid.uuid4().hex[:8]}"
    whole, home = lab.key(Role.admin, user=user), f"p-{uuid.uuid4().hex[:8]}"
    lab.key(Role.viewer, home)
    ids = things(lab, user, home) | {"node_id": str(lab.node), "subject": f"user:{user}", "name": user}
    with lab.client(whole) as http:
        made = http.post("/api-keys", json={"role": "admin", "scopes": [str(scope)]}).json()
        assert made["scopes"] == [str(scope)]
    with database.sessions.begin() as session:
        device = session.query(Device).filter_by(node_id=lab.node, kind=DeviceKind.cpu, index=63).one()
        ids |= {"device_id": str(device.id)}
        key = session.get_one(ApiKey, uuid.UUID(ids["key_id"]))
        key.scopes = [str(scope)]  # a whole one may be rotated by whole ones alone
    wrong = {}
    with lab.client(made["key"]) as http:
        for call, (_, needed) in CALLS.items():
            status, text = ask(Asker(http, ids), call)
            refused = status == 403 and f'"needs_scope":"{needed}"' in text.replace(" ", "")
            if refused != (needed not in (None, scope)) or (status == 403) != refused:
                wrong[call] = (status, text)
    with database.sessions.begin() as session:
        session.execute(delete(Webhook))
    lab.http.post(f"/nodes/{lab.node}/ready")
    lab.http.post(f"/devices/{device.id}/ready")
    assert not wrong
