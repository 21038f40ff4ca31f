"""The service as an object: `Client().submit(spec)`."""

import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

import httpx2
from pydantic import BaseModel

from client import pages
from client.address import service_key, service_url
from client.connection import RETRIES, TIMEOUT, Connection
from client.downloads import download
from client.errors import BadInput, NotFound
from client.experiment import EXPERIMENT, Experiment
from client.job import Job

MANY_JOBS_S = 300.0  # for the service to store up to 2,000 jobs in one transaction
PING_LOOK_S = 0.5
MOST_NAMED = 12  # of what there is, where what was asked for is not
_WHOLE_ID = 36


class Client:
    """A CMAC lab. Address and key: arguments, else CMAC_URL and CMAC_API_KEY, else this machine's own service.

    Every method raises ApiError (one class a code, in `client.errors`) or ServiceAway.
    """

    def __init__(
        self,
        url: str | None = None,
        key: str | None = None,
        *,
        retries: int = RETRIES,
        timeout: httpx2.Timeout = TIMEOUT,
    ) -> None:
        self.connection = Connection(service_url(url), service_key(key), retries=retries, timeout=timeout)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def url(self) -> str:
        """The service's address."""
        return self.connection.url

    def close(self) -> None:
        """Give the sockets back."""
        self.connection.close()

    def submit(self, spec: BaseModel | Mapping[str, Any], *, idempotency_key: str | None = None) -> Job:
        """Queue a job; of an experiment's spec its many jobs, as an Experiment. The same key gives the same again.

        In a plain spec another Job may stand for its checkpoint: {"kind": "retrieval", "checkpoint": job, ...}.
        """
        body = _body(spec)
        patience = MANY_JOBS_S if body.get("kind") == EXPERIMENT else None
        answer = self.connection.post("/jobs", body, key=idempotency_key, timeout_s=patience)
        return _seen(self.connection, answer.json(), answer.headers.get("ETag"))

    def dry_run(self, spec: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
        """What would happen: the spec with every field, where it could run, warnings. Nothing is stored."""
        answer = self.connection.post("/jobs", _body(spec), {"dry_run": True}, timeout_s=MANY_JOBS_S)
        return self._json(answer.json())

    def job(self, id_or_prefix: str) -> Job:
        """A job by its id or the unique start of one. Raises NotFound, BadInput when several fit."""
        whole = self.resolve("/jobs", id_or_prefix)
        answer = self.connection.get(f"/jobs/{whole}")
        return Job(self.connection, answer.json(), answer.headers.get("ETag"))

    def jobs(self, limit: int | None = None, **filters: Any) -> Iterator[Job]:
        """Jobs, newest first or in the order of `sort`. A filter's list means or.

        Filters as in the service: state, kind, owner, project, dataset, checkpoint, node, reason, name (its
        beginning), submitted_after, submitted_before, `**{"label.k": "v"}`.
        """
        return (Job(self.connection, row) for row in pages.items(self.connection, "/jobs", limit, **filters))

    def experiment(self, id_or_prefix: str) -> Experiment:
        """An experiment by its id or the unique start of one. Raises NotFound, BadInput when several fit."""
        whole = self.resolve("/experiments", id_or_prefix)
        return Experiment(self.connection, self.connection.get(f"/experiments/{whole}").json())

    def experiments(self, limit: int | None = None) -> Iterator[Experiment]:
        """Experiments, newest first."""
        return (Experiment(self.connection, row) for row in pages.items(self.connection, "/experiments", limit))

    def find(self, id_or_prefix: str) -> Job:
        """A job or an experiment, whichever has this id. Raises NotFound, BadInput."""
        text = id_or_prefix.strip().lower()
        if len(text) >= _WHOLE_ID:
            try:
                return self.experiment(text)
            except NotFound:
                return self.job(text)
        if len(text) < 2 or not (experiments := self._starting("/experiments", text)):
            return self.job(text)
        if jobs := self._starting("/jobs", text):
            raise BadInput(f"an experiment and a job begin with {text!r}: {experiments[0][:13]}…, {jobs[0][:13]}…")
        return self.experiment(text)

    def _starting(self, path: str, text: str) -> list[str]:
        """The ids that start like this among the newest thousand of a list."""
        rows = pages.items(self.connection, path, 1000)
        return [str(row["id"]) for row in rows if str(row["id"]).startswith(text)]

    def resolve(self, path: str, id_or_prefix: str) -> str:
        """The whole id that starts like this among the newest thousand of a list. Raises BadInput."""
        text = id_or_prefix.strip().lower()
        if len(text) >= _WHOLE_ID:
            return text
        what = "delivery" if path.endswith("/deliveries") else path.strip("/").removesuffix("s")
        if len(text) < 2:
            raise BadInput(f"{id_or_prefix!r} is too short for the start of a {what}'s id")
        found = self._starting(path, text)
        if len(found) == 1:
            return found[0]
        if found:
            raise BadInput(f"{len(found)} {what}s begin with {text!r}: {', '.join(i[:13] for i in found[:5])}…")
        raise BadInput(f"no {what} begins with {id_or_prefix!r}")

    def values(self, limit: int = 1000, **filters: Any) -> list[dict[str, Any]]:
        """Values of results over many jobs, newest jobs first, one row each. Filters as `jobs` has them."""
        rows: list[dict[str, Any]] = self.connection.get("/results", {**filters, "limit": limit}).json()["items"]
        return rows

    def datasets(self, **filters: Any) -> Iterator[dict[str, Any]]:
        """Packed datasets, newest first."""
        return pages.items(self.connection, "/datasets", **filters)

    def dataset(self, name: str) -> dict[str, Any]:
        """One dataset by id, NAME@VERSION or NAME (its newest version). Raises BadInput."""
        base, _, version = name.partition("@")
        rows = list(pages.items(self.connection, "/datasets", 1000))
        named = [row for row in rows if row["name"] == base and version in ("", str(row["version"]))]
        found = named or [row for row in rows if len(name) >= 4 and str(row["id"]).startswith(name.lower())]
        if not found:
            raise BadInput(f"no dataset {name!r}; there are: {_nearest(base, rows)}")
        newest = max(found, key=lambda row: int(row["version"]))
        return self._json(self.connection.get(f"/datasets/{newest['id']}").json())

    def archive_dataset(self, name: str) -> dict[str, Any]:
        """Offer it no longer; its files and what was made from it stay. Raises BadInput, Forbidden, InUse."""
        return self._json(self.connection.delete(f"/datasets/{self.dataset(name)['id']}").json())

    def quarantine(self, dataset_id: str) -> Iterator[dict[str, Any]]:
        """Files that a pack rejected, each with its reason."""
        return pages.items(self.connection, f"/datasets/{dataset_id}/quarantine")

    def add_root(self, name: str, path: str) -> dict[str, Any]:
        """Name a folder of the service's machine from which `pack` may read (operators)."""
        return self._json(self.connection.post("/roots", {"name": name, "path": path}).json())

    def roots(self) -> Iterator[dict[str, Any]]:
        """Named folders of media."""
        return pages.items(self.connection, "/roots")

    def checkpoints(self, limit: int | None = None, job: str | None = None) -> Iterator[dict[str, Any]]:
        """Checkpoints that can be used, newest first; of one job also those that are bad, or deleted since."""
        path = "/checkpoints" if job is None else f"/jobs/{job}/checkpoints"
        return pages.items(self.connection, path, limit)

    def checkpoint(self, id_or_prefix: str) -> dict[str, Any]:
        """One checkpoint with its lineage, and where its weights and its card are. Raises NotFound, BadInput."""
        return self._json(self.connection.get(f"/checkpoints/{self.resolve('/checkpoints', id_or_prefix)}").json())

    def import_weights(self, root: str, path: str, layout: str = "auto", name: str = "") -> Job:
        """Queue the import of a file below a root: its checkpoint is {"job": job} for evaluations and pretrainings."""
        body = {"root": root, "path": path, "layout": layout, "name": name}
        answer = self.connection.post("/checkpoints", body)
        return Job(self.connection, answer.json(), answer.headers.get("ETag"))

    def model_card(self, id_or_prefix: str) -> str:
        """What a checkpoint was trained on, how, and what evaluations found, in Markdown."""
        return self.connection.get(f"/checkpoints/{self.resolve('/checkpoints', id_or_prefix)}/card").text

    def pin_checkpoint(self, id_or_prefix: str, *, pinned: bool = True) -> dict[str, Any]:
        """Keep one, or let its training's `checkpoints` decide again. Raises NotFound, BadInput, IllegalMove."""
        whole = self.resolve("/checkpoints", id_or_prefix)
        return self._json(self.connection.post(f"/checkpoints/{whole}/{'pin' if pinned else 'unpin'}").json())

    def remove_checkpoint(self, id_or_prefix: str) -> dict[str, Any]:
        """Remove the files of one. Raises NotFound, BadInput, and InUse while something names it."""
        return self._json(self.connection.delete(f"/checkpoints/{self.resolve('/checkpoints', id_or_prefix)}").json())

    def save_checkpoint(self, id_or_prefix: str, folder: Path | str) -> list[Path]:
        """Write encoders.safetensors (checked) and model-card.md. Raises BadInput when it has no exported weights."""
        row = self.checkpoint(id_or_prefix)
        if row["file"] is None:
            job = row["job_id"][:8]
            raise BadInput(
                f"checkpoint {row['id'][:8]} has no exported weights: a training exports its encoders at its end, and "
                f"this is step {row['step']} of job {job}; see: cmac checkpoint list --job {job}"
            )
        weights = download(self.connection, row["file"], row["file_sha256"], Path(folder) / "encoders.safetensors")
        card = weights.with_name("model-card.md")
        card.write_text(self.model_card(row["id"]), encoding="utf-8")
        return [weights, card]

    def nodes(self) -> Iterator[dict[str, Any]]:
        """Machines, their devices and leases."""
        return pages.items(self.connection, "/nodes")

    def node(self, name_or_id: str) -> dict[str, Any]:
        """A machine by its name, its id or the unique start of that. Raises NotFound, BadInput."""
        named = [node for node in self.nodes() if node["name"] == name_or_id]
        return (
            named[0]
            if named
            else self._json(self.connection.get(f"/nodes/{self.resolve('/nodes', name_or_id)}").json())
        )

    def set_node(self, name_or_id: str, verb: str, reason: str = "") -> dict[str, Any]:
        """cordon, drain or ready a machine. Operators. Raises NotFound, Forbidden."""
        path = f"/nodes/{self.node(name_or_id)['id']}/{verb}"
        return self._json(self.connection.post(path, {"reason": reason} if reason else None).json())

    def label_node(self, name_or_id: str, labels: Mapping[str, str | None]) -> dict[str, Any]:
        """Give a machine labels beside its own; None takes one away. Operators. Raises NotFound, Forbidden."""
        node = self.node(name_or_id)
        wanted = {key: value for key, value in {**(node.get("labels") or {}), **labels}.items() if value is not None}
        return self._json(self.connection.put(f"/nodes/{node['id']}/labels", {"labels": wanted}).json())

    def set_device(self, device: str, verb: str) -> dict[str, Any]:
        """cordon one device or make it ready; its machine as it is then. Operators. Raises NotFound, Forbidden."""
        return self._json(self.connection.post(f"/devices/{device}/{verb}").json())

    def queue(self, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """Waiting jobs in their order, each with its place and the reason why it waits."""
        return pages.items(self.connection, "/queue", limit)

    def usage(self) -> Iterator[dict[str, Any]]:
        """Who has used how much of late, in the order in which they come next."""
        return pages.items(self.connection, "/queue/usage")

    def quotas(self) -> Iterator[dict[str, Any]]:
        """Limits and shares of users and projects."""
        return pages.items(self.connection, "/quotas")

    def put_quota(self, subject: str, **limits: Any) -> dict[str, Any]:
        """Set all limits of user:NAME or project:NAME: max_gpus, max_running, max_queued, share. Admins."""
        return self._json(self.connection.put(f"/quotas/{subject}", limits).json())

    def remove_quota(self, subject: str) -> None:
        """Back to no limits and a share of 1. Admins."""
        self.connection.delete(f"/quotas/{subject}")

    def projects(self) -> Iterator[dict[str, Any]]:
        """Projects that you may see, with what each holds of the disk."""
        return pages.items(self.connection, "/projects")

    def add_project(self, name: str) -> dict[str, Any]:
        """Make a project. Operators. Raises AlreadyExists."""
        return self._json(self.connection.post("/projects", {"name": name}).json())

    def users(self) -> Iterator[dict[str, Any]]:
        """Everybody, and what they may do at most. Operators."""
        return pages.items(self.connection, "/users")

    def add_user(self, name: str, **body: Any) -> dict[str, Any]:
        """Make a user. Admins. Raises AlreadyExists."""
        return self._json(self.connection.post("/users", {"name": name, **body}).json())

    def change_user(self, name: str, **fields: Any) -> dict[str, Any]:
        """Another role, or disabled. Admins. Raises NotFound, IllegalMove."""
        return self._json(self.connection.patch(f"/users/{name}", fields).json())

    def webhooks(self) -> Iterator[dict[str, Any]]:
        """Receivers of events, newest first: your own; operators see all."""
        return pages.items(self.connection, "/webhooks")

    def webhook(self, id_or_prefix: str) -> dict[str, Any]:
        """One receiver and whether anything arrives. Raises NotFound, BadInput."""
        return self._json(self.connection.get(f"/webhooks/{self.resolve('/webhooks', id_or_prefix)}").json())

    def add_webhook(self, url: str, events: Sequence[str] = (), project: str | None = None) -> dict[str, Any]:
        """Have a URL told of events; the secret that signs them is in the answer, once. No events: the ends of jobs."""
        body = {"url": url} | ({"events": list(events)} if events else {}) | ({"project": project} if project else {})
        return self._json(self.connection.post("/webhooks", body).json())

    def remove_webhook(self, id_or_prefix: str) -> str:
        """It is told nothing any more; its whole id."""
        whole = self.resolve("/webhooks", id_or_prefix)
        self.connection.delete(f"/webhooks/{whole}")
        return whole

    def ping_webhook(self, id_or_prefix: str, timeout_s: float = 30.0) -> dict[str, Any]:
        """Send a test and wait for how it goes: the delivery, its `state` still `waiting` when nobody has sent it."""
        whole = self.resolve("/webhooks", id_or_prefix)
        sent = self._json(self.connection.post(f"/webhooks/{whole}/ping").json())
        end = time.monotonic() + timeout_s
        while sent["state"] == "waiting" and time.monotonic() < end:
            time.sleep(PING_LOOK_S)
            sent = next(row for row in self.deliveries(whole) if row["id"] == sent["id"])
        return sent

    def deliveries(self, webhook_id: str, limit: int | None = None) -> Iterator[dict[str, Any]]:
        """What a receiver was sent, newest first, and what it answered."""
        return pages.items(self.connection, f"/webhooks/{webhook_id}/deliveries", limit)

    def redeliver(self, webhook_id: str, delivery_id: str) -> dict[str, Any]:
        """Send a delivery once more, under its old id."""
        path = f"/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver"
        return self._json(self.connection.post(path).json())

    def me(self) -> dict[str, Any]:
        """Whose key this is and what it may do."""
        return self._json(self.connection.get("/me").json())

    def create_key(self, **body: Any) -> dict[str, Any]:
        """A new API key; its secret is in the answer, once."""
        return self._json(self.connection.post("/api-keys", body).json())

    def keys(self) -> Iterator[dict[str, Any]]:
        """API keys, without their secrets."""
        return pages.items(self.connection, "/api-keys")

    def key(self, name_or_id: str) -> dict[str, Any]:
        """A live key by its name, its id or the unique start of that. Raises BadInput."""
        live = [row for row in self.keys() if row["revoked_at"] is None]
        named = [row for row in live if row["name"] == name_or_id]
        if len(named) > 1:
            raise BadInput(f"{len(named)} keys are named {name_or_id!r}: {', '.join(row['id'][:8] for row in named)}")
        if not named:
            whole = self.resolve("/api-keys", name_or_id)
            named = [row for row in live if row["id"] == whole]
        if not named:
            raise BadInput(f"no live key {name_or_id!r}; see: cmac key list")
        return named[0]

    def rotate_key(self, name_or_id: str, grace_hours: float = 24) -> dict[str, Any]:
        """A new key in the place of one, which opens for some hours more; the secret is in the answer, once."""
        path = f"/api-keys/{self.key(name_or_id)['id']}/rotate"
        return self._json(self.connection.post(path, {"grace_hours": grace_hours}).json())

    def audit(self, limit: int | None = None, **filters: Any) -> Iterator[dict[str, Any]]:
        """The trail of writes, newest first: user, action (its beginning), target, since, until. Operators."""
        return pages.items(self.connection, "/audit", limit, **filters)

    def revoke_key(self, key_id: str) -> None:
        """The key opens nothing from now on."""
        self.connection.delete(f"/api-keys/{key_id}")

    def version(self) -> dict[str, Any]:
        """The service's version."""
        return self._json(self.connection.get("/version").json())

    def ready(self) -> dict[str, Any]:
        """/readyz: raises Unavailable while the database is away or not migrated."""
        return self._json(self.connection.get("/readyz").json())

    @staticmethod
    def _json(body: Any) -> dict[str, Any]:
        return body if isinstance(body, dict) else {"items": body}


def _seen(connection: Connection, row: dict[str, Any], etag: str | None) -> Job:
    return Experiment(connection, row, etag) if row["kind"] == EXPERIMENT else Job(connection, row, etag)


def _body(spec: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(spec, BaseModel):
        return spec.model_dump(mode="json")
    return {name: {"job": value.id} if isinstance(value, Job) else value for name, value in spec.items()}


def _nearest(name: str, datasets: Sequence[Mapping[str, Any]]) -> str:
    """Twelve references, those first whose name is most like this one."""
    references = sorted({f"{row['name']}@{row['version']}" for row in datasets})
    like = sorted(references, key=lambda one: -SequenceMatcher(None, name, one.partition("@")[0]).ratio())
    shown = ", ".join(like[:MOST_NAMED]) or "none yet"
    return shown if len(like) <= MOST_NAMED else f"{shown} and {len(like) - MOST_NAMED} more"
