"""Users and projects over HTTP."""

import uuid
from typing import Any

import pytest

from store import database, people
from store.errors import IllegalMove
from store.keys import Principal, Role
from tests.api.test_submitting import refusal


@pytest.fixture
def name() -> str:
    return f"n-{uuid.uuid4().hex[:8]}"


def test_a_project_is_made_once_and_jobs_can_belong_to_it(lab: Any, name: str) -> None:
    made = lab.http.post("/projects", json={"name": name})
    assert (made.status_code, made.json()["jobs"]) == (201, 0)
    assert refusal(lab.http.post("/projects", json={"name": name}), 409, "already_exists")["existing"] == name
    lab.submit(queue={"project": name})
    lab.dataset(name, project=name, bytes=5000)
    found = [row for row in lab.http.get("/projects?limit=200").json()["items"] if row["name"] == name]
    sizes = {"dataset_bytes": 5000, "checkpoint_bytes": 0, "artifact_bytes": 0}
    assert found == [{"name": name, "jobs": 1, **sizes}]
    with lab.client(lab.key(Role.viewer, name)) as http:
        assert [row["name"] for row in http.get("/projects").json()["items"]] == [name]


def test_a_disabled_user_is_shut_out_and_let_in_again(lab: Any, name: str) -> None:
    made = lab.http.post("/users", json={"name": name, "role": "submitter"})
    assert (made.status_code, made.json()["role"]) == (201, "submitter")
    refusal(lab.http.post("/users", json={"name": name}), 409, "already_exists")
    key = lab.http.post("/api-keys", json={"user": name, "role": "submitter"}).json()["key"]
    with lab.client(key) as http:
        assert http.get("/me").json()["role"] == "submitter"
        assert lab.http.patch(f"/users/{name}", json={"disabled": True}).json()["disabled"] is True
        assert http.get("/me").status_code == 401
        lab.http.patch(f"/users/{name}", json={"disabled": False, "role": "viewer"})
        assert http.get("/me").json()["role"] == "viewer"
    assert name in [row["name"] for row in lab.http.get("/users?limit=200").json()["items"]]


@pytest.mark.parametrize(
    ("body", "pointer"), [({}, ""), ({"role": "king"}, "/role"), ({"disabled": "x"}, "/disabled"), ({"a": 1}, "/a")]
)
def test_a_change_that_makes_no_sense_names_its_field(lab: Any, name: str, body: Any, pointer: str) -> None:
    lab.http.post("/users", json={"name": name})
    problem = refusal(lab.http.patch(f"/users/{name}", json=body), 422, "invalid_spec")
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


def test_nobody_unknown_is_changed_and_no_odd_name_made(lab: Any) -> None:
    refusal(lab.http.patch("/users/nobody-here", json={"disabled": True}), 404, "not_found")
    for path, body in (("/users", {"name": "a b"}), ("/projects", {"name": "Ünder"})):
        problem = refusal(lab.http.post(path, json=body), 422, "invalid_spec")
        assert problem["errors"][0]["pointer"] == "/name"


def test_the_last_admin_stays_one(lab: Any) -> None:
    principal = Principal("admin", Role.admin)
    with database.sessions() as session:
        for one in people.users(session, principal):
            if one.role == "admin" and one.name not in ("admin", "system"):
                people.change_user(session, one.name, {"role": Role.operator}, principal)
        with pytest.raises(IllegalMove, match="only admin"):
            people.change_user(session, "admin", {"disabled": True}, principal)
        session.rollback()
    assert lab.http.get("/me").status_code == 200
