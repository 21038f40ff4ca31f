"""Webhooks over HTTP: registered, looked at, tested, removed; by whom."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import delete, select

from store import database, deliveries
from store.keys import Role
from store.settings import settings
from store.tables import Outbox, Webhook
from tests.api.test_submitting import refusal

URL = "http://127.0.0.1:9/in"


@pytest.fixture(autouse=True)
def in_house(at_home: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Loopback is allowed; no webhook is left behind."""
    monkeypatch.setenv("CMAC_WEBHOOK_ALLOW", "127.0.0.1")
    settings.cache_clear()
    yield
    with database.sessions.begin() as session:
        session.execute(delete(Webhook))


def add(http: Any, **changes: Any) -> dict[str, Any]:
    answer = http.post("/webhooks", json={"url": URL} | changes)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def test_the_secret_is_shown_once(lab: Any) -> None:
    made = add(lab.http, events=["job.failed"])
    assert made["secret"].startswith("cmacwh_")
    assert (made["state"], made["events"], made["project"]) == ("ok", ["job.failed"], None)
    one, (row,) = lab.http.get(f"/webhooks/{made['id']}").json(), lab.http.get("/webhooks").json()["items"]
    assert one == row == {name: value for name, value in made.items() if name != "secret"}
    assert lab.http.delete(f"/webhooks/{made['id']}").status_code == 204
    refusal(lab.http.get(f"/webhooks/{made['id']}"), 404, "not_found")


def test_the_same_request_twice_registers_once(lab: Any) -> None:
    key = {"Idempotency-Key": uuid.uuid4().hex}
    first, second = (lab.http.post("/webhooks", json={"url": URL}, headers=key).json() for _ in range(2))
    assert first == second
    assert len(lab.http.get("/webhooks").json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "pointer", "says"),
    [
        ({}, "/url", "required"),
        ({"url": "ftp://a.lan"}, "/url", "begin with https"),
        ({"url": "http://10.0.0.1/"}, "/url", "CMAC_WEBHOOK_ALLOW"),
        ({"url": "https://127.0.0.2/", "events": ["job.failed"]}, "/url", "CMAC_WEBHOOK_ALLOW"),
        ({"url": "http://169.254.169.254/latest"}, "/url", "metadata"),
        ({"url": "https://unknown.invalid/"}, "/url", "not known"),
        ({"url": "https://a.lan\0/"}, None, ""),
        ({"url": 7}, "/url", "string"),
        ({"url": URL, "events": []}, "/events", "at least 1"),
        ({"url": URL, "events": ["job.bored"]}, "/events/0", "job.failed"),
        ({"url": URL, "event": "job.failed"}, "/event", "no such field"),
    ],
)
def test_what_cannot_be_a_webhook_names_its_field(lab: Any, body: Any, pointer: str | None, says: str) -> None:
    answer = lab.http.post("/webhooks", json=body)
    if pointer is None:
        refusal(answer, 400, "malformed_json")
        return
    (error,) = refusal(answer, 422, "invalid_spec")["errors"]
    assert (error["pointer"], says in error["message"]) == (pointer, True), error
    assert lab.http.get("/webhooks").json()["items"] == []


def test_a_test_and_what_became_of_it_can_be_seen(lab: Any) -> None:
    hook = add(lab.http)["id"]
    sent = lab.http.post(f"/webhooks/{hook}/ping")
    assert (sent.status_code, sent.json()["event"], sent.json()["state"]) == (202, "ping", "waiting")
    assert sent.json()["next_at"] is not None
    with database.sessions.begin() as session:
        (taken,) = deliveries.take(session, 10)
        deliveries.failed(session, taken.id, "it answered 404", 404)
    (seen,) = lab.http.get(f"/webhooks/{hook}/deliveries").json()["items"]
    assert (seen["id"], seen["state"], seen["status"], seen["error"], seen["sends"], seen["next_at"]) == (
        sent.json()["id"], "given_up", 404, "it answered 404", 1, None,
    )  # fmt: skip
    again = lab.http.post(f"/webhooks/{hook}/deliveries/{seen['id']}/redeliver")
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, seen["id"], "waiting")
    refusal(lab.http.post(f"/webhooks/{hook}/deliveries/{uuid.uuid4()}/redeliver"), 404, "not_found")


def test_a_job_that_ends_is_told_with_its_id(lab: Any) -> None:
    hook = add(lab.http, events=["job.cancelled"])["id"]
    job = lab.submit()
    lab.http.post(f"/jobs/{job}/cancel")
    (seen,) = lab.http.get(f"/webhooks/{hook}/deliveries").json()["items"]
    assert (seen["event"], seen["about"]) == ("job.cancelled", job)
    with database.sessions() as session:
        assert (
            session.scalars(select(Outbox.payload).where(Outbox.webhook_id == uuid.UUID(hook))).one()["job"]["id"]
            == job
        )


def test_webhooks_of_others_are_not_there(lab: Any, project: str) -> None:
    with lab.client(lab.key(Role.submitter)) as eva, lab.client(lab.key(Role.submitter)) as mia:
        hook = add(eva)["id"]
        paths = [f"/webhooks/{hook}", f"/webhooks/{hook}/deliveries"]
        for path in paths:
            assert eva.get(path).status_code == 200
            refusal(mia.get(path), 404, "not_found")
        refusal(mia.post(f"/webhooks/{hook}/ping"), 404, "not_found")
        refusal(mia.delete(f"/webhooks/{hook}"), 404, "not_found")
        assert mia.get("/webhooks").json()["items"] == []
    with lab.client(lab.key(Role.operator)) as operator, lab.client(lab.key(Role.operator, project)) as narrow:
        refusal(narrow.get(paths[0]), 404, "not_found")
        assert operator.delete(paths[0]).status_code == 204


def test_a_key_of_one_project_registers_for_that_alone(lab: Any, project: str) -> None:
    with lab.client(lab.key(Role.submitter, project)) as http:
        assert add(http)["project"] == project
        refusal(http.post("/webhooks", json={"url": URL, "project": "default"}), 403, "forbidden")
    refusal(lab.http.post("/webhooks", json={"url": URL, "project": "nowhere"}), 404, "not_found")
    with lab.client(lab.key(Role.viewer)) as http:
        assert refusal(http.post("/webhooks", json={"url": URL}), 403, "forbidden")["needs_role"] == "submitter"
