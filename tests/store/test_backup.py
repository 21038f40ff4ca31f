"""A backup is the whole database, and what comes back from it goes on."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Engine, func, inspect, select
from sqlalchemy.orm import Session

from store import backup, scheduler
from store.states import JobState
from store.tables import Attempt, DeviceLease, Job, JobEvent, Metric
from tests.store.lab import Lab


def run(*arguments: str, at: Engine) -> "subprocess.CompletedProcess[str]":
    """`python -m store.backup` as a person runs it, on another database."""
    address = at.url.set(drivername="postgresql").render_as_string(hide_password=False)
    command = [sys.executable, "-m", "store.backup", *arguments]
    env = os.environ | {"CMAC_DATABASE_URL": address}
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False)


def test_what_is_saved_comes_back_whole_and_goes_on(open_lab: Lab, empty: Engine, tmp_path: Path) -> None:
    lab = open_lab
    done, waiting = lab.submit(), lab.submit()
    lab.succeed(done)
    running = lab.submit()
    lab.save(running, lab.run(running))
    counts = {table: lab.session.scalar(select(func.count()).select_from(table)) for table in (Job, Attempt, Metric)}
    lab.session.commit()
    file = tmp_path / "lab.dump"
    assert backup.main(["save", str(file)]) == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.glob("*.part")) == []

    done_so = run("restore", str(file), at=empty)
    assert done_so.returncode == 0, done_so.stderr
    with Session(empty) as session:
        for table, count in counts.items():
            assert session.scalar(select(func.count()).select_from(table)) == count
        states = {job.id: job for job in session.scalars(select(Job))}
        assert states[done.id].state is JobState.succeeded
        assert states[waiting.id].state is JobState.queued
        again = states[running.id]
        assert (again.state, again.resume_checkpoint) == (JobState.queued, running.resume_checkpoint)
        assert again.epoch > backup.LEAP
        assert states[done.id].epoch == done.epoch
        assert session.scalar(select(func.count()).where(DeviceLease.released_at.is_(None))) == 0
        told = select(JobEvent).where(JobEvent.job_id == running.id).order_by(JobEvent.seq.desc())
        last = session.scalars(told).first()
        assert last is not None
        assert last.data["detail"] == "The database was restored."


def test_nothing_is_written_over(open_lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "lab.dump"
    assert backup.main(["save", str(file)]) == 0
    assert backup.main(["restore", str(file)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert scheduler.run_pass("me").leading


@pytest.mark.system
def test_what_cannot_be_done_is_told_and_leaves_no_half_file(empty: Engine, tmp_path: Path) -> None:
    nowhere = run("save", str(tmp_path / "no" / "lab.dump"), at=empty)
    assert (nowhere.returncode, "No such file" in nowhere.stderr) == (2, True)
    broken = tmp_path / "broken.dump"
    broken.write_bytes(b"PGDMP but not really")
    for file, said in ((broken, "pg_restore"), (tmp_path / "none", "is no file")):
        refused = run("restore", str(file), at=empty)
        assert refused.returncode == 2
        assert said in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not inspect(empty).get_table_names()
