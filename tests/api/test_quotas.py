"""Limits and shares over HTTP: for admins to set, for everybody to read."""

from typing import Any

import pytest

from store.keys import Role
from tests.api.test_submitting import refusal


def test_an_admin_sets_and_removes_limits(lab: Any) -> None:
    put = lab.http.put("/quotas/user:admin", json={"max_gpus": 8, "share": 2})
    quota = {"subject": "user:admin", "max_gpus": 8, "max_running": None, "max_queued": None, "share": 2.0}
    assert (put.status_code, put.json()) == (200, quota)
    assert quota in lab.http.get("/quotas").json()["items"]
    assert lab.http.put("/quotas/user:admin", json={}).json()["max_gpus"] is None  # the whole of it
    assert lab.http.delete("/quotas/user:admin").status_code == 204
    refusal(lab.http.delete("/quotas/user:admin"), 404, "not_found")


@pytest.mark.parametrize("subject", ["user:nobody", "project:none", "ana", "team:x", "user:"])
def test_a_quota_is_for_somebody_there(lab: Any, subject: str) -> None:
    refusal(lab.http.put(f"/quotas/{subject}", json={}), 404, "not_found")


@pytest.mark.parametrize("body", [{"max_gpus": -1}, {"share": 0}, {"gpus": 1}])
def test_a_limit_that_makes_no_sense_names_its_field(lab: Any, body: dict[str, Any]) -> None:
    problem = refusal(lab.http.put("/quotas/user:admin", json=body), 422, "invalid_spec")
    assert [error["pointer"] for error in problem["errors"]] == [f"/{next(iter(body))}"]


def test_only_admins_set_them(lab: Any) -> None:
    with lab.client(lab.key(Role.operator)) as http:
        assert refusal(http.put("/quotas/user:admin", json={}), 403, "forbidden")["needs_role"] == "admin"
        refusal(http.delete("/quotas/user:admin"), 403, "forbidden")
        assert http.get("/quotas").status_code == 200
