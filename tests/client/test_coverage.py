"""Every call of the API has a method of the client and a command that make that very call."""

import re
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import httpx2
import pytest

from client import Client, ClientError
from client.errors import BadFilter
from client.logs import follow_log, read_log
from cmac_core.events import Metrics, Saved
from tests.api.conftest import House, Lab
from tests.client.conftest import Cmac

# Not for people at a terminal: a load balancer's and Prometheus' looks, and a browser's cookie.
EXCEPTIONS = {"GET /healthz", "GET /metrics", "POST /session", "DELETE /session"}


class Things(NamedTuple):
    """One of everything that a call may be about, and a folder for files."""

    job: str  # it has ended and left a file, a checkpoint and an attention map
    waiting: str
    experiment: str
    checkpoint: str
    dataset: str
    node: str
    key: str
    folder: str

    def file(self, name: str, text: str) -> str:
        """A file of that text."""
        path = Path(self.folder) / name
        path.write_text(text)
        return str(path)


SPEC = {"kind": "retrieval", "dataset": "moving", "checkpoint": {"random_init": True}, "scale": "small"}
GRID: dict[str, Any] = {
    "kind": "experiment", "name": "grid", "seeds": [0], "grid": {"contrastive.tau": [0.05, 0.1]},
    "base": {"kind": "pretrain", "dataset": "moving", "scale": "small", "resources": {"cpu_slots": 1}},
}  # fmt: skip
Call = Callable[[Client, Things], Any]
Command = Callable[[Things], list[str]]
NOBODY = str(uuid.uuid4())


def job_call(verb: Callable[[Any], Any]) -> Call:
    return lambda lab, things: verb(lab.job(things.job))


CALLS: dict[str, tuple[Call, Command]] = {
    "GET /readyz": (lambda lab, _: lab.ready(), lambda _: ["version"]),
    "GET /version": (lambda lab, _: lab.version(), lambda _: ["version"]),
    "GET /me": (lambda lab, _: lab.me(), lambda _: ["whoami"]),
    "GET /jobs": (lambda lab, _: lab.jobs(1), lambda _: ["jobs"]),
    "POST /jobs": (
        lambda lab, _: lab.submit(SPEC),
        lambda things: ["submit", things.file("spec.json", '{"kind": "pretrain", "dataset": "nowhere"}')],
    ),
    "GET /jobs/{job_id}": (lambda lab, things: lab.job(things.job), lambda things: ["show", things.job]),
    "PATCH /jobs/{job_id}": (
        job_call(lambda job: job.change(name="other")),
        lambda things: ["set", things.job, "name=another"],
    ),
    "POST /jobs/{job_id}/cancel": (job_call(lambda job: job.cancel()), lambda things: ["cancel", things.job]),
    "POST /jobs/{job_id}/pause": (job_call(lambda job: job.pause()), lambda things: ["pause", things.job]),
    "POST /jobs/{job_id}/resume": (job_call(lambda job: job.resume()), lambda things: ["resume", things.job]),
    "POST /jobs/{job_id}/hold": (job_call(lambda job: job.hold()), lambda things: ["hold", things.job]),
    "POST /jobs/{job_id}/release": (job_call(lambda job: job.release()), lambda things: ["release", things.job]),
    "POST /jobs/{job_id}/retry": (job_call(lambda job: job.retry()), lambda things: ["retry", things.job]),
    "DELETE /jobs/{job_id}": (
        lambda lab, things: lab.job(things.waiting).delete(),
        lambda things: ["delete", things.waiting, "--yes"],
    ),
    "GET /jobs/{job_id}/attempts": (job_call(lambda job: job.attempts()), lambda things: ["attempts", things.job]),
    "GET /jobs/{job_id}/events": (job_call(lambda job: job.history()), lambda things: ["events", things.job]),
    "GET /jobs/{job_id}/events/stream": (
        job_call(lambda job: job.events()),
        lambda things: ["events", things.job, "-f"],
    ),
    "GET /jobs/{job_id}/artifacts": (
        job_call(lambda job: job.artifacts()),
        lambda things: ["artifact", "list", things.job],
    ),
    "GET /artifacts/{sha256}": (
        job_call(lambda job: job.artifact("table.csv").content()),
        lambda things: ["artifact", "get", things.job, "table.csv", "--out", things.folder],
    ),
    "GET /jobs/{job_id}/checkpoints": (
        lambda lab, things: lab.checkpoints(job=things.job),
        lambda things: ["checkpoint", "list", "--job", things.job],
    ),
    "GET /jobs/{job_id}/logs": (
        lambda lab, things: read_log(lab.connection, things.job),
        lambda things: ["logs", things.job],
    ),
    "GET /jobs/{job_id}/logs/stream": (
        lambda lab, things: follow_log(lab.connection, things.job, read_log(lab.connection, things.job)),
        lambda things: ["logs", things.job, "-f"],
    ),
    "GET /jobs/{job_id}/metrics": (job_call(lambda job: job.metrics()), lambda things: ["metrics", things.job]),
    "GET /jobs/{job_id}/metrics/stream": (
        job_call(lambda job: job.live_metrics()),
        lambda things: ["metrics", things.job, "-f"],
    ),
    "GET /experiments": (lambda lab, _: lab.experiments(1), lambda _: ["experiments"]),
    "GET /experiments/{experiment_id}": (
        lambda lab, things: lab.experiment(things.experiment),
        lambda things: ["table", things.experiment],
    ),
    "GET /experiments/{experiment_id}/table": (
        lambda lab, things: lab.experiment(things.experiment).table(),
        lambda things: ["table", things.experiment, "--csv"],
    ),
    "POST /experiments/{experiment_id}/cancel": (
        lambda lab, things: lab.experiment(things.experiment).cancel(),
        lambda things: ["cancel", things.experiment],
    ),
    "POST /experiments/{experiment_id}/retry": (
        lambda lab, things: lab.experiment(things.experiment).retry(),
        lambda things: ["retry", things.experiment],
    ),
    "GET /results": (lambda lab, _: lab.values(), lambda _: ["values"]),
    "GET /results/{job_id}": (job_call(lambda job: job.result()), lambda things: ["results", things.job]),
    "GET /results/{job_id}/attention": (
        job_call(lambda job: job.attention()),
        lambda things: ["attention", "list", things.job],
    ),
    "GET /datasets": (lambda lab, _: lab.datasets(), lambda _: ["dataset", "list"]),
    "GET /datasets/{reference}": (
        lambda lab, things: lab.dataset(things.dataset),
        lambda things: ["dataset", "show", things.dataset],
    ),
    "GET /datasets/{reference}/quarantine": (
        lambda lab, things: lab.quarantine(lab.dataset(things.dataset)["id"]),
        lambda things: ["dataset", "quarantine", things.dataset],
    ),
    "DELETE /datasets/{dataset_id}": (
        lambda lab, things: lab.archive_dataset(things.dataset),
        lambda things: ["dataset", "archive", things.dataset],
    ),
    "GET /roots": (lambda lab, _: lab.roots(), lambda _: ["root", "list"]),
    "POST /roots": (
        lambda lab, things: lab.add_root("covered", things.folder),
        lambda things: ["root", "add", "covered", things.folder],
    ),
    "GET /checkpoints": (lambda lab, _: lab.checkpoints(), lambda _: ["checkpoint", "list"]),
    "POST /checkpoints": (
        lambda lab, _: lab.import_weights("nowhere", "weights.pt"),
        lambda things: ["checkpoint", "import", things.file("weights.pt", "weights")],
    ),
    "GET /checkpoints/{checkpoint_id}": (
        lambda lab, things: lab.checkpoint(things.checkpoint),
        lambda things: ["checkpoint", "show", things.checkpoint],
    ),
    "GET /checkpoints/{checkpoint_id}/file": (
        lambda lab, things: lab.save_checkpoint(things.checkpoint, things.folder),
        lambda things: ["checkpoint", "get", things.checkpoint, "--out", things.folder],
    ),
    "GET /checkpoints/{checkpoint_id}/card": (
        lambda lab, things: lab.model_card(things.checkpoint),
        lambda things: ["checkpoint", "card", things.checkpoint],
    ),
    "POST /checkpoints/{checkpoint_id}/pin": (
        lambda lab, things: lab.pin_checkpoint(things.checkpoint),
        lambda things: ["checkpoint", "pin", things.checkpoint],
    ),
    "POST /checkpoints/{checkpoint_id}/unpin": (
        lambda lab, things: lab.pin_checkpoint(things.checkpoint, pinned=False),
        lambda things: ["checkpoint", "pin", things.checkpoint, "--undo"],
    ),
    "DELETE /checkpoints/{checkpoint_id}": (
        lambda lab, _: lab.remove_checkpoint(NOBODY),
        lambda _: ["checkpoint", "remove", NOBODY],
    ),
    "GET /nodes": (lambda lab, _: lab.nodes(), lambda _: ["nodes"]),
    "GET /nodes/{node_id}": (lambda lab, _: lab.node(NOBODY), lambda _: ["node", "show", NOBODY]),
    "PUT /nodes/{node_id}/labels": (
        lambda lab, things: lab.label_node(things.node, {"rack": "1"}),
        lambda things: ["node", "label", things.node, "rack=1"],
    ),
    "POST /nodes/{node_id}/cordon": (
        lambda lab, things: lab.set_node(things.node, "cordon"),
        lambda things: ["node", "cordon", things.node],
    ),
    "POST /nodes/{node_id}/drain": (
        lambda lab, things: lab.set_node(things.node, "drain"),
        lambda things: ["node", "drain", things.node],
    ),
    "POST /nodes/{node_id}/ready": (
        lambda lab, things: lab.set_node(things.node, "ready"),
        lambda things: ["node", "ready", things.node],
    ),
    "POST /devices/{device_id}/cordon": (
        lambda lab, _: lab.set_device(NOBODY, "cordon"),
        lambda things: ["node", "cordon", things.node, "--device", "63"],
    ),
    "POST /devices/{device_id}/ready": (
        lambda lab, _: lab.set_device(NOBODY, "ready"),
        lambda things: ["node", "ready", things.node, "--device", "63"],
    ),
    "GET /queue": (lambda lab, _: lab.queue(), lambda _: ["queue"]),
    "GET /queue/usage": (lambda lab, _: lab.usage(), lambda _: ["queue", "--usage"]),
    "GET /projects": (lambda lab, _: lab.projects(), lambda _: ["project", "list"]),
    "POST /projects": (lambda lab, _: lab.add_project("covered"), lambda _: ["project", "add", "covered"]),
    "GET /users": (lambda lab, _: lab.users(), lambda _: ["user", "list"]),
    "POST /users": (lambda lab, _: lab.add_user("covered"), lambda _: ["user", "add", "covered"]),
    "PATCH /users/{name}": (
        lambda lab, _: lab.change_user("nobody", disabled=True),
        lambda _: ["user", "set", "nobody", "--disable"],
    ),
    "GET /quotas": (lambda lab, _: lab.quotas(), lambda _: ["quota", "list"]),
    "PUT /quotas/{subject}": (
        lambda lab, _: lab.put_quota("user:nobody", max_gpus=1),
        lambda _: ["quota", "set", "user:nobody", "--max-gpus", "1"],
    ),
    "DELETE /quotas/{subject}": (
        lambda lab, _: lab.remove_quota("user:nobody"),
        lambda _: ["quota", "remove", "user:nobody"],
    ),
    "GET /api-keys": (lambda lab, _: lab.keys(), lambda _: ["key", "list"]),
    "POST /api-keys": (
        lambda lab, _: lab.create_key(name="covered", role="viewer"),
        lambda _: ["key", "create", "covered", "--role", "viewer"],
    ),
    "POST /api-keys/{key_id}/rotate": (
        lambda lab, things: lab.rotate_key(things.key),
        lambda things: ["key", "rotate", things.key],
    ),
    "DELETE /api-keys/{key_id}": (lambda lab, _: lab.revoke_key(NOBODY), lambda _: ["key", "revoke", NOBODY]),
    "GET /audit": (lambda lab, _: lab.audit(1), lambda _: ["audit", "-n", "1"]),
    "GET /webhooks": (lambda lab, _: lab.webhooks(), lambda _: ["webhook", "list"]),
    "POST /webhooks": (
        lambda lab, _: lab.add_webhook("http://127.0.0.1/refused"),
        lambda _: ["webhook", "add", "http://127.0.0.1/refused"],
    ),
    "GET /webhooks/{webhook_id}": (lambda lab, _: lab.webhook(NOBODY), lambda _: ["webhook", "show", NOBODY]),
    "DELETE /webhooks/{webhook_id}": (
        lambda lab, _: lab.remove_webhook(NOBODY),
        lambda _: ["webhook", "remove", NOBODY],
    ),
    "POST /webhooks/{webhook_id}/ping": (
        lambda lab, _: lab.ping_webhook(NOBODY),
        lambda _: ["webhook", "test", NOBODY],
    ),
    "GET /webhooks/{webhook_id}/deliveries": (
        lambda lab, _: lab.deliveries(NOBODY),
        lambda _: ["webhook", "deliveries", NOBODY],
    ),
    "POST /webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver": (
        lambda lab, _: lab.redeliver(NOBODY, NOBODY),
        lambda _: ["webhook", "redeliver", NOBODY, NOBODY],
    ),
}  # fmt: skip


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """(method, path) of every request that the client sends."""
    seen: list[tuple[str, str]] = []
    send = httpx2.Client.send

    def noting(self: httpx2.Client, request: httpx2.Request, **options: Any) -> httpx2.Response:
        seen.append((request.method, request.url.path))
        return send(self, request, **options)

    monkeypatch.setattr(httpx2.Client, "send", noting)
    return seen


@pytest.fixture(scope="module")
def lasting(house: House, lab: Lab) -> Iterator[Things]:
    """What every test may share; afterwards nothing waits, and the machine is offered again."""
    with house.entered():
        job = lab.submit()
        began = lab.http.get(f"/jobs/{job}").json()["submitted_at"]
        lease = lab.start(job)
        encoders = lab.artifact(job, "encoders.safetensors", b"tensors", "x/y", "encoders", step=0)
        path = "checkpoints/step-0/state.pt"
        (lab.folder(job) / path).parent.mkdir(parents=True)
        (lab.folder(job) / path).write_bytes(b"state")
        saved = Saved(step=0, train_epoch=0, path=path, sha256="0" * 64, bytes=5, kind="weights")
        table = lab.artifact(job, "table.csv", b"a,b\n", "text/csv")
        shown = {"clip": "a", "modality": "video", "map": "s"}
        picture = lab.artifact(job, "a.png", b"picture", "image/png", "attention_png", **shown)
        lab.tell(lease, saved, table, encoders, picture, Metrics(step=0, values={"loss": 1.0}))
        lab.succeed(lease)
        experiment = lab.http.post("/jobs", json=GRID)
        assert experiment.status_code == 202, experiment.text
        checkpoint = lab.http.get(f"/jobs/{job}/checkpoints").json()["items"][0]["id"]
        node = lab.http.get(f"/nodes/{lab.node}").json()["name"]
        yield Things(job, "", experiment.json()["id"], checkpoint, "", node, "", "")
        lab.http.post(f"/experiments/{experiment.json()['id']}/cancel")
        made = {"state": ["queued", "held"], "submitted_after": began, "limit": "200"}
        for one in lab.http.get("/jobs", params=made).json()["items"]:
            lab.http.post(f"/jobs/{one['id']}/cancel")
        assert lab.http.post(f"/nodes/{lab.node}/ready").status_code == 202


@pytest.fixture
def things(lasting: Things, lab: Lab, tmp_path: Path) -> Things:
    """With a job, a dataset and a key of the test's own, which it may remove."""
    key = lab.http.post("/api-keys", json={"name": f"k-{uuid.uuid4().hex[:6]}", "role": "viewer"}).json()["id"]
    dataset = f"{lab.dataset(f'd-{uuid.uuid4().hex[:8]}').name}@1"
    return lasting._replace(waiting=lab.submit(), dataset=dataset, key=key, folder=str(tmp_path))


def was_made(call: str, asked: list[tuple[str, str]]) -> bool:
    method, _, template = call.partition(" ")
    pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", template))
    return any(method == one and pattern.fullmatch(path) for one, path in asked)


def test_every_call_of_the_api_is_named_here(lab: Lab) -> None:
    paths = lab.http.get("/openapi.json").json()["paths"]
    served = {f"{method.upper()} {path}" for path, operations in paths.items() for method in operations}
    assert served - EXCEPTIONS == set(CALLS)
    assert served >= EXCEPTIONS


@pytest.mark.parametrize("call", CALLS)
def test_a_call_has_a_method_of_the_client(
    call: str, client: Client, things: Things, asked: list[tuple[str, str]]
) -> None:
    try:
        found = CALLS[call][0](client, things)
        if isinstance(found, Iterator):
            next(found, None)
    except BadFilter:
        raise  # a parameter that the call does not have
    except ClientError:
        pass  # what it is about may not be there, or forbid it: the call was made, which is all that counts here
    assert was_made(call, asked), asked


@pytest.mark.parametrize("call", CALLS)
def test_a_call_has_a_command(call: str, cmac: Cmac, things: Things, asked: list[tuple[str, str]]) -> None:
    said = cmac(*CALLS[call][1](things))
    assert was_made(call, asked), (said, asked)
    assert said.code in (0, 1, 2), said
