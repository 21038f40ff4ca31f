"""Commands on the lab: machines, quotas, keys, people; and what is said when something is wrong."""

import json
import uuid
from pathlib import Path

import pytest

from tests.api.conftest import Lab
from tests.client.conftest import Cmac


def test_the_lab_shows_its_machines_queue_and_checkpoints(cmac: Cmac, lab: Lab) -> None:
    lab.submit()
    assert "64 cpu" in cmac("nodes").out
    assert cmac("queue").code == 0
    shown = cmac("queue", "--usage")
    assert (shown.code, "GPU-hours" in shown.out, "admin" in shown.out) == (0, True, True)
    assert cmac("checkpoint", "list").code == 0


def test_quotas_are_set_listed_and_removed(cmac: Cmac) -> None:
    assert cmac("quota", "set", "user:admin", "--max-gpus", "8", "--share", "2").code == 0
    assert "user:admin" in cmac("quota", "list").out
    assert json.loads(cmac("quota", "list", "--json").out)[0]["max_gpus"] == 8
    assert cmac("quota", "remove", "user:admin").code == 0
    assert cmac("quota", "list").out.strip() == "nobody has limits"
    missing = cmac("quota", "set", "user:nobody")
    assert (missing.code, "there is no user nobody" in missing.err) == (2, True)


def test_a_machine_is_taken_out_and_put_back_by_its_name(cmac: Cmac) -> None:
    (name,) = [row["name"] for row in json.loads(cmac("nodes", "--json").out)]
    assert json.loads(cmac("node", "cordon", name, "--reason", "loud", "--json").out)["state"] == "cordoned"
    assert "cordoned (loud)" in cmac("node", "show", name).out
    assert json.loads(cmac("node", "drain", name, "--json").out)["state"] == "draining"
    assert json.loads(cmac("node", "ready", name, "--json").out)["state"] == "ready"
    taken = json.loads(cmac("node", "cordon", name, "--device", "0", "--json").out)
    assert [one["state"] for one in taken["devices"]].count("cordoned") == 1
    assert cmac("node", "ready", name, "--device", "0").code == 0
    wrong = cmac("node", "cordon", name, "--device", "99")
    assert (wrong.code, "has no cpu 99" in wrong.err) == (2, True)
    assert cmac("node", "show", "nobody").code == 2


def test_a_key_is_limited_to_scopes(cmac: Cmac, monkeypatch: pytest.MonkeyPatch) -> None:
    made = json.loads(cmac("key", "create", "ci", "--scope", "read", "--scope", "submit", "--json").out)
    assert made["scopes"] == ["read", "submit"]
    assert "read, submit" in cmac("key", "list").out
    monkeypatch.setenv("CMAC_API_KEY", made["key"])
    assert cmac("jobs").code == 0
    refused = cmac("key", "create", "more")
    assert (refused.code, "scope admin" in refused.err) == (3, True)


def test_keys_are_made_shown_once_and_revoked(cmac: Cmac, lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    made = cmac("key", "create", "laptop", "--role", "viewer", "--user", "ana", "--json")
    row = json.loads(made.out)
    monkeypatch.setenv("CMAC_API_KEY", row["key"])
    assert cmac("jobs").code == 0
    refused = cmac("cancel", lab.submit())
    assert (refused.code, "role" in refused.err) == (3, True)
    monkeypatch.delenv("CMAC_API_KEY")
    assert row["key"] not in cmac("key", "list").out
    assert cmac("key", "revoke", row["id"][:8]).code == 0
    monkeypatch.setenv("CMAC_API_KEY", row["key"])
    assert cmac("jobs").code == 3


def test_a_key_is_rotated_by_its_name_and_the_trail_shows_it(cmac: Cmac, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"robot-{uuid.uuid4().hex[:6]}"
    old = json.loads(cmac("key", "create", name, "--json").out)
    said = cmac("key", "rotate", name, "--grace-hours", "2")
    assert (said.code, "opens for 2 h more" in said.err) == (0, True)
    for token in (old["key"], said.out.strip()):
        monkeypatch.setenv("CMAC_API_KEY", token)
        assert cmac("jobs").code == 0
    monkeypatch.delenv("CMAC_API_KEY")
    refused = cmac("key", "rotate", name)  # two have this name now
    assert (refused.code, old["id"][:8] in refused.err) == (2, True)
    (row,) = json.loads(cmac("audit", "--target", old["prefix"], "--action", "key.rotate", "--json").out)
    assert row["after"]["grace_s"] == 7200
    assert "key.rotate" in cmac("audit", "--target", old["prefix"]).out


def test_a_service_that_is_away_exits_4_and_says_how_to_start_it(cmac: Cmac) -> None:
    said = cmac("jobs", "--url", "http://127.0.0.1:9")
    assert said.code == 4
    assert said.err.strip() == "error: no service answers at http://127.0.0.1:9: start it with `cmac up`"


def test_a_mistake_of_ours_is_recorded_and_no_trace_is_shown(cmac: Cmac, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("so it broke")

    monkeypatch.setattr("client.api.Client.queue", broken)
    said = cmac("queue")
    assert said.code == 70
    assert "Traceback" not in said.err
    record = Path(said.err.split("The details are in ")[1].split("; please")[0].replace("\n", ""))
    assert "so it broke" in record.read_text()


def test_projects_and_users_are_made_listed_and_changed(cmac: Cmac) -> None:
    assert cmac("project", "add", "video").code == 0
    again = cmac("project", "add", "video")
    assert (again.code, "already" in again.err) == (2, True)
    assert "video" in cmac("project", "list").out
    assert cmac("admin", "project", "list", "--json").out == cmac("project", "list", "--json").out
    assert json.loads(cmac("user", "add", "newcomer", "--json").out)["role"] == "submitter"
    assert cmac("user", "set", "newcomer").code == 2
    changed = json.loads(cmac("user", "set", "newcomer", "--role", "operator", "--disable", "--json").out)
    assert (changed["role"], changed["disabled"]) == ("operator", True)
    assert "disabled" in cmac("user", "list").out
