"""The command line against the real service: what it prints, and how it exits."""

import csv
import io
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from client.commands.simulation import write_history
from cmac_core.events import Metrics, Progress, Saved, Warned
from store import database
from store.ends import Reason
from store.keys import Role
from store.tables import Part
from tests.api.conftest import RETRIEVAL, Lab
from tests.client.conftest import Cmac


def spec_file(folder: Path, file: str = "spec.json", /, **changes: Any) -> str:
    path = folder / file
    path.write_text(json.dumps(RETRIEVAL | changes))
    return str(path)


def test_submitting_prints_ids_or_tables_or_json(cmac: Cmac, tmp_path: Path) -> None:
    file = spec_file(tmp_path, name="first")
    quiet = cmac("submit", file, "--quiet")
    assert (quiet.code, len(quiet.out.strip()), quiet.err) == (0, 36, "")
    shown = cmac("submit", file, "--set", "name=second")
    assert "second" in shown.out
    assert "Follow: cmac wait" in shown.err
    (row,) = json.loads(cmac("submit", file, "--set", "seed=3", "--json").out)
    assert row["seed"] == 3
    assert "second" in cmac("jobs", "--name", "second").out


def test_a_wrong_spec_exits_2_and_names_fields_and_guesses(cmac: Cmac, tmp_path: Path) -> None:
    said = cmac("submit", spec_file(tmp_path, n_clip=3, label=7))
    assert said.code == 2
    assert "/n_clip: no such field" in said.err
    assert "did you mean n_clips?" in said.err
    assert "/label" in said.err
    assert "Traceback" not in said.err
    as_json = cmac("submit", spec_file(tmp_path, n_clip=3), "--json")
    problem = json.loads(as_json.err)
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("invalid_spec", "/n_clip")


def test_files_may_name_each_other(cmac: Cmac, tmp_path: Path) -> None:
    late = spec_file(tmp_path, "late.json", name="probe", checkpoint={"job": "$base"})
    base = tmp_path / "base.json"
    base.write_text(json.dumps({"kind": "pretrain", "name": "base", "dataset": "moving", "preset": "small"}))
    rows = json.loads(cmac("submit", late, str(base), "--json").out)
    assert [row["name"] for row in rows] == ["base", "probe"]
    assert rows[1]["checkpoint_job"] == rows[0]["id"]
    assert rows[1]["state"] == "blocked"
    assert cmac("why", rows[1]["id"][:8]).out.startswith("waits for")


def test_what_was_submitted_before_a_refusal_is_told(cmac: Cmac, tmp_path: Path) -> None:
    good, bad = spec_file(tmp_path, "a.json", name="a"), spec_file(tmp_path, "b.json", name="b", dataset="nowhere")
    said = cmac("submit", good, bad)
    assert said.code == 2
    assert "Submitted before the refused one, and they stay" in said.err


def test_a_dry_run_shows_what_would_happen(cmac: Cmac, tmp_path: Path) -> None:
    said = cmac("submit", spec_file(tmp_path), "--dry-run", "--json")
    assert json.loads(said.out)[0]["spec"]["dataset"].startswith("moving")
    assert cmac("submit", spec_file(tmp_path), "--dry-run").code == 0


def test_wait_prints_the_table_and_its_code_is_the_jobs(cmac: Cmac, lab: Lab) -> None:
    good, bad = lab.submit(name="good"), lab.submit(name="bad")
    lab.succeed(lab.start(good))
    lab.finish(lab.start(bad), Reason.oom, detail="out of memory", hint="halve the batch")
    said = cmac("wait", good)
    assert said.code == 0
    assert "57.9%" in said.out
    both = cmac("wait", good, bad)
    assert both.code == 1
    assert "57.9%" in both.out
    assert "oom: out of memory" in both.err
    assert "halve the batch" in both.err


def test_a_running_job_shows_its_progress_and_losses(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit(name="seen")
    lease = lab.start(job)
    lab.tell(lease, Progress(phase="extract", step=120, of=500, rate=49.1, unit="clips", eta_s=75))
    lab.tell(lease, *(Metrics(step=i, values={"loss": 14.0 - i, "contrast/v": 6.0}) for i in range(9)))
    assert "extract 120/500, 49.1 clips/s, 1:15 left" in cmac("jobs", "--name", "seen").out
    curves = cmac("metrics", job).out
    assert "loss" in curves
    assert "▁" in curves
    assert "extract" in cmac("show", job[:8]).out
    lab.succeed(lease)
    assert cmac("events", job).out.count("state") >= 2


def test_logs_come_whole_or_by_their_tail_or_followed(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit()
    assert cmac("logs", job).out == ""
    lease = lab.start(job)
    (lab.folder(job) / "log.txt").write_text("".join(f"line {i}\n" for i in range(2000)))
    lab.succeed(lease)
    assert cmac("logs", job).out.splitlines()[-1] == "line 1999"
    assert len(cmac("logs", job).out.splitlines()) == 2000
    assert cmac("logs", job, "--tail", "2").out == "line 1998\nline 1999\n"
    assert cmac("logs", job, "--tail", "2", "-f").out == "line 1998\nline 1999\n"


def test_of_a_job_over_several_machines_the_log_is_chosen(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit()
    lease = lab.start_on_two(job)
    told = cmac("logs", job)
    assert (told.out, "part 0 of 2" in told.err, "--part 1" in told.err) == ("first\n", True, True)
    with database.sessions.begin() as session:
        session.execute(delete(Part).where(Part.attempt_id == lease.attempt, Part.part == 1))
    lab.succeed(lease)
    chosen = cmac("logs", job, "--part", "1", "-f")
    assert (chosen.out, chosen.err) == ("second\n", "")
    refused = cmac("logs", job, "--part", "2")
    assert (refused.code, "parts 0 to 1" in refused.err) == (2, True)


def test_jobs_are_deleted_once_they_are_over(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit()
    assert cmac("delete", job).code == 2
    lab.succeed(lab.start(job))
    assert cmac("delete", job, "--yes").out == f"deleted {job}\n"
    assert "was deleted" in cmac("show", job).err


def test_results_as_csv_guard_against_formulas(cmac: Cmac, lab: Lab, tmp_path: Path) -> None:
    job = lab.submit()
    lab.succeed(lab.start(job))
    assert cmac("results", job, "--csv", str(tmp_path / "r.csv")).code == 0
    (row,) = csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text()))
    assert (row["job"], row["name"], row["value"], row["paper"]) == (job, "r@1", "57.9", "")
    assert json.loads(cmac("results", job, "--json").out)["values"][0]["value"] == 57.9


def test_what_a_job_warned_of_is_shown_with_its_result(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit()
    lease = lab.start(job)
    lab.tell(lease, Warned(code="queue_too_long", message="moco.K: 900 keys are more than half of the clips"))
    lab.succeed(lease)
    assert "warning: moco.K: 900 keys" in cmac("results", job).out


def test_the_result_of_an_unfinished_job_says_so(cmac: Cmac, lab: Lab) -> None:
    said = cmac("results", lab.submit())
    assert said.code == 0
    assert "queued (not final yet)" in said.out


def test_cancelling_and_what_follows(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit()
    assert cmac("cancel", job[:8], "--quiet").out.strip() == job
    assert cmac("wait", job).code == 1
    done = lab.submit()
    lab.succeed(lab.start(done))
    said = cmac("cancel", done)
    assert said.code == 2
    assert "succeeded" in said.err


def test_jobs_are_held_released_and_changed(cmac: Cmac, lab: Lab) -> None:
    job = lab.submit()
    assert json.loads(cmac("hold", job, "--json").out)[0]["state"] == "held"
    assert cmac("why", job).out.strip().startswith("held by admin")
    assert json.loads(cmac("release", job, "--json").out)[0]["state"] == "queued"
    changed = json.loads(cmac("set", job, "priority=low", "label.table=4", "max_restarts=5", "--json").out)
    assert (changed["priority"], changed["labels"]) == ("low", {"table": "4"})
    assert json.loads(cmac("set", job, "label.table=", "--json").out)["labels"] == {}
    for wrong, says in (
        ("priority", "FIELD=VALUE"),
        ("max_restarts=many", "whole number"),
        ("priority=top", "/priority"),
    ):
        refused = cmac("set", job, wrong)
        assert (refused.code, says in refused.err) == (2, True)
    refused = cmac("pause", job)
    assert (refused.code, "cannot be paused" in refused.err) == (2, True)


def test_datasets_and_roots(cmac: Cmac, tmp_path: Path) -> None:
    assert "moving@1" in cmac("dataset", "list").out
    assert "class=8" in cmac("dataset", "show", "moving").out
    missing = cmac("dataset", "show", "nowhere")
    assert (missing.code, "moving@1" in missing.err) == (2, True)
    media = tmp_path / "My Videos"
    media.mkdir()
    row = json.loads(cmac("dataset", "add", str(media), "--json").out)
    assert (row["kind"], row["spec"]["dataset"]) == ("pack", "my-videos")
    again = json.loads(cmac("dataset", "add", str(media), "--name", "other", "--json").out)
    assert again["spec"]["source"] == row["spec"]["source"]
    assert str(media) in cmac("root", "list").out.replace("\n", "")
    assert cmac("dataset", "add", str(tmp_path / "nowhere")).code == 2


def test_a_public_set_is_packed_by_its_layout(cmac: Cmac, tmp_path: Path) -> None:
    row = json.loads(cmac("dataset", "add", str(tmp_path), "--name", "esc", "--layout", "esc50", "--json").out)
    assert (row["spec"]["layout"], row["spec"]["media"]) == ("esc50", "audio")
    said = cmac("dataset", "add", str(tmp_path), "--name", "ucf", "--layout", "ucf-101")
    assert said.code == 2
    assert "/layout" in said.err
    assert "'ucf101'" in said.err


def test_shards_and_their_merge_are_submitted_in_one_go(cmac: Cmac, tmp_path: Path) -> None:
    media = ("dataset", "add", str(tmp_path), "--name", "big", "--layout", "kinetics400")
    rows = json.loads(cmac(*media, "--shards", "3", "--workers", "2", "--json").out)
    assert [row["spec"]["shard"] for row in rows] == [*({"index": i, "of": 3} for i in range(3)), None]
    assert [row["name"] for row in rows][1::2] == ["pack big, shard 2 of 3", "pack big"]
    assert [row["state"] for row in rows] == ["queued"] * 3 + ["blocked"]
    assert [one["job"] for one in rows[3]["spec"]["merge"]] == [row["id"] for row in rows[:3]]
    assert {row["spec"]["workers"] for row in rows} == {2}
    assert len(cmac(*media, "--shards", "2", "--quiet").out.split()) == 3
    assert cmac(*media, "--shards", "0").code == 2


def test_the_lab_shows_its_machines_queue_and_checkpoints(cmac: Cmac) -> None:
    assert "64 cpu" in cmac("nodes").out
    assert cmac("queue").code == 0
    shown = cmac("queue", "--usage")
    assert (shown.code, "GPU-hours" in shown.out, "admin" in shown.out) == (0, True, True)
    assert cmac("checkpoint", "list").code == 0


@pytest.mark.system
def test_a_trace_is_replayed_and_a_bad_one_named(cmac: Cmac, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("submitted,user,gpus,runtime_s\n0,ana,8,3600\n60,eva,2,3600\n")
    shown = cmac("simulate", str(trace), "--nodes", "1x8")
    assert shown.code == 0
    assert "2 jobs on 8 GPUs" in shown.out
    assert json.loads(cmac("simulate", str(trace), "--json").out)["wait"]["wait_max_h"] == pytest.approx(59 / 60, 0.01)
    trace.write_text("submitted,user,gpus\n0,ana,8\n")
    wrong = cmac("simulate", str(trace))
    assert (wrong.code, "column runtime_s is missing" in wrong.err) == (2, True)


def test_a_replay_tells_who_had_to_leave_and_what_was_done_twice(cmac: Cmac, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("submitted,user,gpus,runtime_s,priority,redo_s\n0,ana,2,7200,low,1800\n3600,eva,2,3600,high,\n")
    shown = cmac("simulate", str(trace), "--nodes", "1x2")
    assert shown.code == 0
    assert "1 jobs had to leave for others, 1 times in all" in shown.out
    assert ("preempted" in shown.out, "redone" in shown.out, "1.00" in shown.out) == (True, True, True)
    calm = cmac("simulate", str(trace), "--nodes", "1x2", "--no-preemption")
    assert (calm.code, "preempted" in calm.out, "leave" in calm.out) == (0, False, False)


def test_without_a_trace_it_is_the_history_and_an_empty_one_is_said(cmac: Cmac, tmp_path: Path) -> None:
    none = cmac("simulate", "--nodes", "1x8")
    assert (none.code, "no job of this lab has ended on a GPU" in none.err) == (2, True)
    row = {
        "gpus": 2,
        "nodes": 1,
        "owner": "ana",
        "project": "p",
        "priority": "high",
        "submitted_at": "2026-11-26T12:00:00.000Z",
    }
    times = {"started_at": "2026-11-26T12:01:00.000Z", "ended_at": "2026-11-26T12:03:00.000Z"}
    file = tmp_path / "history.csv"
    assert write_history(file, [row | times, row | times | {"gpus": 0}, row | {"started_at": None}]) == 1
    assert "ana,p,2,1,120.0,high" in file.read_text()
    assert cmac("simulate", str(file)).code == 0


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


def test_weights_are_imported_shown_and_fetched(cmac: Cmac, lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")
    row = json.loads(cmac("checkpoint", "import", str(tmp_path / "weights.pt"), "--layout", "gdt", "--json").out)
    assert (row["kind"], row["name"], row["spec"]["layout"]) == ("import", "import weights.pt", "gdt")
    assert cmac("checkpoint", "import", str(tmp_path / "nowhere.pt")).code == 2
    lease = lab.start(row["id"])
    for step in (0, 1):
        path = f"checkpoints/step-{step}/state.pt"
        (lab.folder(row["id"]) / path).parent.mkdir(parents=True)
        (lab.folder(row["id"]) / path).write_bytes(b"state")
        lab.tell(lease, Saved(step=step, train_epoch=0, path=path, sha256="0" * 64, bytes=5, kind="weights"))
    lab.tell(lease, lab.artifact(row["id"], "encoders.safetensors", b"tensors", "x/y", "encoders", step=0))
    lab.succeed(lease)
    listed = json.loads(cmac("checkpoint", "list", "--job", row["id"], "--json").out)
    ids = {one["step"]: one["id"] for one in listed}
    shown = cmac("checkpoint", "show", ids[0])
    assert f"/checkpoints/{ids[0]}/file" in shown.out.replace("\n", "")
    out = tmp_path / "out"
    got = cmac("checkpoint", "get", ids[0], "--out", str(out))
    assert (got.code, (out / "encoders.safetensors").read_bytes()) == (0, b"tensors")
    assert (out / "model-card.md").read_text().startswith("# import weights.pt\n")
    refused = cmac("checkpoint", "get", ids[1], "--out", str(tmp_path / "none"))
    assert (refused.code, "has no exported weights" in refused.err) == (2, True)
    assert not (tmp_path / "none").exists()


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


def test_a_viewer_cannot_add_roots(cmac: Cmac, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAC_API_KEY", lab.key(Role.viewer))
    assert cmac("root", "add", f"r-{uuid.uuid4().hex[:6]}", str(tmp_path)).code == 3


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
