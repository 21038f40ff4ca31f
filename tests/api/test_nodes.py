"""Operators take machines and devices out of the queue and put them back."""

from typing import Any

import pytest

from store.keys import Role
from tests.api.test_submitting import refusal


@pytest.fixture
def node(lab: Any) -> Any:
    """The lab's machine, ready again afterwards."""
    (row,) = lab.http.get("/nodes").json()["items"]
    yield row
    lab.http.post(f"/nodes/{row['id']}/ready")


def test_a_machine_is_cordoned_with_a_reason_drained_and_made_ready(lab: Any, node: dict[str, Any]) -> None:
    path = f"/nodes/{node['id']}"
    answer = lab.http.post(f"{path}/cordon", json={"reason": "a fan is loud"})
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (202, "cordoned", "a fan is loud")
    assert lab.http.post(f"{path}/drain").json()["state"] == "draining"
    ready = lab.http.post(f"{path}/ready").json()
    assert (ready["state"], ready["reason"]) == ("ready", None)


def test_one_device_is_taken_out_and_offered_again(lab: Any, node: dict[str, Any]) -> None:
    device = node["devices"][0]["id"]
    states = []
    for verb in ("cordon", "ready"):
        told = lab.http.post(f"/devices/{device}/{verb}").json()
        states.append({one["id"]: one["state"] for one in told["devices"]}[device])
    assert states == ["cordoned", "ok"]


def test_a_machines_labels_are_set_as_a_whole(lab: Any, node: dict[str, Any]) -> None:
    path = f"/nodes/{node['id']}/labels"
    assert lab.http.put(path, json={"labels": {"disk": "nvme"}}).json()["labels"] == {"disk": "nvme"}
    assert lab.http.put(path, json={"labels": {}}).json()["labels"] == {}
    refusal(lab.http.put(path, json={"labels": {"disk": 1}}), 422, "invalid_spec")
    with lab.client(lab.key(Role.submitter)) as http:
        refusal(http.put(path, json={"labels": {}}), 403, "forbidden")


def test_only_operators_do_so_and_unknown_ones_are_said(lab: Any, node: dict[str, Any]) -> None:
    none = "00000000-0000-0000-0000-000000000000"
    paths = [f"/nodes/{{}}/{verb}" for verb in ("cordon", "drain", "ready")]
    paths += [f"/devices/{{}}/{verb}" for verb in ("cordon", "ready")]
    with lab.client(lab.key(Role.submitter)) as http:
        for path in paths:
            assert refusal(http.post(path.format(none)), 403, "forbidden")["needs_role"] == "operator"
            refusal(lab.http.post(path.format(none)), 404, "not_found")
    refusal(lab.http.post(f"/nodes/{node['id']}/cordon", json={"why": "x"}), 422, "invalid_spec")
