"""Who gets in, and how far."""

import re
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from api.settings import ApiSettings
from store.keys import Role

OPEN = {"/healthz", "/readyz", "/metrics", "/version", "/openapi.json"}
SIGNING_IN = {"/session"}
PAGES = ("/ui/sign-in", "/", "/docs", "/problems", "/problems/not_found")


def routes(lab: Any) -> Iterator[tuple[str, str]]:
    """Every method and path that there is, with ids that nobody has."""
    for path, operations in lab.http.get("/openapi.json").json()["paths"].items():
        filled = path.replace("{sha256}", "0" * 64).replace("{reference}", "none")
        for method in operations:
            yield method.upper(), re.sub(r"\{\w+_id\}", str(uuid.uuid4()), filled)


def test_no_path_but_the_open_ones_answers_without_a_key(lab: Any) -> None:
    asked = [route for route in routes(lab) if route[1] not in OPEN | SIGNING_IN]
    assert len(asked) > 25
    with lab.client(None) as http:
        for method, path in [*asked, ("HEAD", "/artifacts/" + "0" * 64)]:
            answer = http.request(method, path)
            assert (answer.status_code, path) == (401, path)
            assert answer.headers["www-authenticate"] == "Bearer"
            if method != "HEAD":
                assert answer.json()["code"] == "unauthenticated"


def test_open_paths_and_pages_need_no_key(lab: Any) -> None:
    with lab.client(None) as http:
        assert {path: http.get(path).status_code for path in (*OPEN, *PAGES)} == dict.fromkeys((*OPEN, *PAGES), 200)


@pytest.mark.parametrize("given", ["Bearer", "Bearer x", "Basic YTpi", "Bearer cmac_000000000000_" + "a" * 43, "x"])
def test_a_wrong_key_is_answered_like_none(lab: Any, given: str) -> None:
    with lab.client(None) as http:
        answer = http.get("/me", headers={"Authorization": given})
        none = http.get("/me")
    assert answer.status_code == 401
    assert answer.json()["detail"] == none.json()["detail"]


def test_a_revoked_and_an_expired_key_open_nothing(lab: Any) -> None:
    made = lab.http.post("/api-keys", json={"name": "laptop", "role": "viewer", "days": 1}).json()
    assert made["key"].startswith(f"cmac_{made['prefix']}_")
    with lab.client(made["key"]) as http:
        whole = {"user": "admin", "role": "viewer", "project": None, "key": made["prefix"], "scopes": None}
        assert http.get("/me").json() == whole
        listed = lab.http.get("/api-keys", params={"limit": 200}).json()["items"]
        assert all("key" not in row for row in listed)
        assert lab.http.delete(f"/api-keys/{made['id']}").status_code == 204
        assert http.get("/me").status_code == 401
    soon = lab.http.post("/api-keys", json={"days": 1e-9}).json()["key"]
    with lab.client(soon) as http:
        assert http.get("/me").status_code == 401


def test_a_key_is_rotated_and_the_old_one_opens_for_a_while(lab: Any) -> None:
    made = lab.http.post("/api-keys", json={"name": "robot", "role": "submitter"}).json()
    with lab.client(made["key"]) as http:
        answer = http.post(f"/api-keys/{made['id']}/rotate")  # one's own, by itself
        assert answer.status_code == 201
        new = answer.json()
        assert (new["name"], new["role"]) == ("robot", "submitter")
        assert new["prefix"] != made["prefix"]
        assert http.get("/me").json()["key"] == made["prefix"]
        with lab.client(new["key"]) as fresh:
            assert fresh.get("/me").json()["key"] == new["prefix"]
            assert fresh.post(f"/api-keys/{made['id']}/rotate", json={"grace_hours": 0}).status_code == 201
        assert http.get("/me").status_code == 401
        assert lab.http.post(f"/api-keys/{made['id']}/rotate").status_code == 404
    assert lab.http.post(f"/api-keys/{new['id']}/rotate", json={"grace_hours": 1000}).status_code == 422
    trail = lab.http.get("/audit", params={"action": "key.rotate", "target": made["prefix"]}).json()["items"]
    assert [row["after"]["grace_s"] for row in trail] == [0, 86400]
    assert trail[1]["after"]["new"] == new["prefix"]
    assert new["key"] not in str(trail)
    with lab.client(lab.key(Role.operator)) as http:
        assert http.post(f"/api-keys/{new['id']}/rotate").status_code == 404


def test_a_limited_key_makes_none_that_may_more_and_rotation_keeps_its_limits(lab: Any) -> None:
    made = lab.http.post("/api-keys", json={"name": "ci", "role": "admin", "scopes": ["submit", "admin"]}).json()
    assert made["scopes"] == ["admin", "submit"]
    with lab.client(made["key"]) as http:
        assert http.get("/me").json()["scopes"] == ["admin", "submit"]
        refused = http.get("/jobs")
        assert (refused.status_code, refused.json()["needs_scope"]) == (403, "read")
        assert "yours has admin, submit" in refused.json()["detail"]
        wider = http.post("/api-keys", json={"role": "viewer", "scopes": ["read"]})
        assert (wider.status_code, wider.json()["needs_scope"]) == (403, "read")
        assert http.post("/api-keys", json={"role": "viewer"}).json()["scopes"] == ["admin", "submit"]
        fresh = http.post(f"/api-keys/{made['id']}/rotate").json()
        assert fresh["scopes"] == made["scopes"]
        whole = lab.http.post("/api-keys", json={"role": "viewer"}).json()
        assert whole["scopes"] is None
        assert http.post(f"/api-keys/{whole['id']}/rotate").status_code == 403
    listed = {row["id"]: row["scopes"] for row in lab.http.get("/api-keys", params={"limit": 200}).json()["items"]}
    assert (listed[fresh["id"]], listed[whole["id"]]) == (["admin", "submit"], None)
    trail = lab.http.get("/audit", params={"action": "key.create", "target": made["prefix"]}).json()["items"]
    assert trail[0]["after"]["scopes"] == ["admin", "submit"]


@pytest.mark.parametrize(
    ("scopes", "told"),
    [
        (["operate"], "'message': 'operate needs role operator or more, not submitter'"),
        (["write"], "'operate' or 'admin'"),
        ([], "1 item"),
    ],
)
def test_scopes_that_are_no_use_are_refused(lab: Any, scopes: list[str], told: str) -> None:
    refused = lab.http.post("/api-keys", json={"role": "submitter", "scopes": scopes})
    assert refused.status_code == 422
    assert told in str(refused.json()["errors"])
    assert "scopes" in str(refused.json()["errors"])


def test_the_trail_tells_operators_who_did_what(lab: Any, project: str) -> None:
    jobs = [lab.submit() for _ in range(3)]
    rows = lab.http.get("/audit", params={"action": "job.", "user": "admin", "limit": 200}).json()["items"]
    submitted = [row["target"] for row in rows if row["action"] == "job.submit"]
    assert submitted[:3] == jobs[::-1]
    (row,) = lab.http.get("/audit", params={"target": jobs[1]}).json()["items"]
    assert (row["user"], row["action"], row["after"]["kind"]) == ("admin", "job.submit", "retrieval")
    first = lab.http.get("/audit", params={"action": "job.submit", "limit": 2}).json()
    lab.submit()
    second = lab.http.get("/audit", params={"action": "job.submit", "limit": 2, "cursor": first["next_cursor"]}).json()
    assert [one["target"] for one in [*first["items"], *second["items"]]][:3] == jobs[::-1]
    assert lab.http.get("/audit", params={"target": jobs[1], "since": row["at"]}).json()["items"] == [row]
    assert lab.http.get("/audit", params={"target": jobs[1], "until": row["at"][:10]}).json()["items"] == []
    for wrong, code in (({"cursor": "x"}, "bad_cursor"), ({"cursor": str(uuid.uuid4())}, "bad_cursor")):
        answer = lab.http.get("/audit", params=wrong)
        assert (answer.status_code, answer.json()["code"]) == (400, code)
    for key in (lab.key(Role.submitter), lab.key(Role.operator, project)):
        with lab.client(key) as http:
            assert http.get("/audit").status_code == 403


def test_nobody_makes_a_key_that_may_more_than_they(lab: Any) -> None:
    with lab.client(lab.key(Role.submitter)) as http:
        answer = http.post("/api-keys", json={"role": "operator"})
        assert (answer.status_code, answer.json()["needs_role"]) == (403, "operator")
        answer = http.post("/api-keys", json={"user": "admin", "role": "viewer"})
        assert (answer.status_code, answer.json()["needs_role"]) == (403, "admin")
        assert http.post("/api-keys", json={"role": "viewer"}).status_code == 201


def test_a_key_for_a_project_that_is_not_there_is_refused(lab: Any) -> None:
    problem = lab.http.post("/api-keys", json={"project": "nowhere"})
    assert (problem.status_code, problem.json()["code"]) == (422, "unknown_reference")
    assert problem.json()["errors"][0]["pointer"] == "/project"


def test_keys_of_others_are_neither_seen_nor_revoked(lab: Any) -> None:
    mine = lab.http.post("/api-keys", json={"name": "mine"}).json()
    with lab.client(lab.key(Role.operator)) as http:
        assert mine["id"] not in [row["id"] for row in http.get("/api-keys?limit=200").json()["items"]]
        assert http.delete(f"/api-keys/{mine['id']}").status_code == 404


def test_another_project_is_not_there_at_all(lab: Any, project: str) -> None:
    job = lab.submit()
    lease = lab.start(job)
    lab.tell(lease, lab.artifact(job, "secret.txt", project.encode(), "text/plain"))
    lab.succeed(lease)
    (artifact,) = lab.http.get(f"/jobs/{job}/artifacts").json()["items"]
    dataset = lab.http.get("/datasets/moving").json()["id"]
    foreign = [path for path in (f"/jobs/{job}", f"/results/{job}", artifact["url"], f"/datasets/{dataset}")]
    foreign += [f"/jobs/{job}/{part}" for part in ("attempts", "events", "logs", "metrics", "artifacts", "checkpoints")]
    foreign += [f"/jobs/{job}/{part}/stream" for part in ("events", "logs", "metrics")]
    foreign += [f"/results/{job}/attention", "/datasets/moving", f"/datasets/{dataset}/quarantine"]
    with lab.client(lab.key(Role.operator, project)) as http:
        found = {path: (http.get(path).status_code, http.get(path).json()["code"]) for path in foreign}
        assert found == dict.fromkeys(foreign, (404, "not_found"))
        assert http.post(f"/jobs/{job}/cancel").status_code == 404
        assert http.post(f"/jobs/{job}/retry").status_code == 404
        assert http.get("/jobs").json()["items"] == http.get("/datasets").json()["items"] == []
        body = {"kind": "retrieval", "dataset": "moving", "checkpoint": {"job": job}, "queue": {"project": project}}
        problem = http.post("/jobs", json=body).json()
        assert problem["code"] == "unknown_reference"
        assert {error["pointer"] for error in problem["errors"]} == {"/dataset", "/checkpoint/job"}
        assert http.post("/jobs", json=body | {"queue": {"project": "default"}}).status_code == 403


def test_only_the_owner_or_an_operator_cancels(lab: Any) -> None:
    job = lab.submit()
    with lab.client(lab.key(Role.submitter)) as http:
        answer = http.post(f"/jobs/{job}/cancel")
        assert (answer.status_code, answer.json()["needs_role"]) == (403, "operator")
    with lab.client(lab.key(Role.operator)) as http:
        assert http.post(f"/jobs/{job}/cancel").status_code == 202


def test_who_asks_too_often_is_told_when_to_come_back(lab: Any, serve: Callable[[ApiSettings], Any]) -> None:
    url = serve(ApiSettings(rate=1, burst=3)).url
    with lab.client(lab.key(Role.viewer)) as http, lab.client(lab.key(Role.viewer)) as other:
        answers = [http.get(f"{url}/me") for _ in range(5)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert (answers[-1].json()["code"], answers[-1].headers["retry-after"]) == ("rate_limited", "1")
        assert other.get(f"{url}/me").status_code == 200
    with lab.client("guess") as http:
        assert [http.get(f"{url}/me").status_code for _ in range(4)] == [401, 401, 401, 429]
