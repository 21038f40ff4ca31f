"""Commands on jobs and their results."""

import csv
import io
import json
from pathlib import Path

from sqlalchemy import delete

from cmac_core.events import Metrics, Progress, Warned
from store import database
from store.tables import Part
from tests.api.conftest import Lab
from tests.client.conftest import Cmac


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
