"""Logs and curves of jobs that ended long ago: real files, real commits; only the end is moved into the past."""

import uuid
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from cmac_core.events import Metrics, Warned
from store import checkpoints, deletion, figures, job_events, jobs, metrics, retention, verbs
from store.ends import Reason
from store.errors import Gone, IllegalMove, InUse, UnknownReference
from store.settings import settings
from store.tables import Audit, Job, Metric
from tests.store.lab import Lab


@pytest.fixture(autouse=True)
def short_curves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "BUCKETS", 10)


def ended(lab: Lab, days: float, points: int = 0) -> Job:
    """A job that said something and ended so many days ago."""
    job = lab.submit("retrieval")
    lease = lab.run(job)
    folder = settings().attempt_folder(job.id, 1)
    folder.mkdir(parents=True)
    for name in ("log.txt", "log-1.txt", "spec.json"):
        (folder / name).write_text("said\n")
    curve = [Metrics(step=step, values={"loss": float(step % 7)}) for step in range(points)]
    lab.tell(lease, *curve)
    lab.finish(lease, Reason.user_error)
    job.ended_at = func.now() - timedelta(days=days)
    lab.session.commit()
    return job


def left(job_id: uuid.UUID) -> list[str]:
    return sorted(path.name for path in Path(settings().attempt_folder(job_id, 1)).iterdir())


def test_logs_go_ninety_days_after_the_end_and_nothing_else_does(open_lab: Lab) -> None:
    old, young = ended(open_lab, 91), ended(open_lab, 89)
    live = open_lab.submit("retrieval")
    open_lab.session.commit()
    assert retention.run_pass() == {"logs": 1, "curves": 1, "events": 1}
    open_lab.session.refresh(old)
    assert (left(old.id), left(young.id)) == (["spec.json"], ["log-1.txt", "log.txt", "spec.json"])
    assert (old.logs_removed_at is not None, young.logs_removed_at, live.logs_removed_at) == (True, None, None)
    assert retention.run_pass() == {}
    row = open_lab.session.scalars(select(Audit).where(Audit.action == "retention.logs")).one()
    assert (row.principal, row.target, row.after) == ("system", str(old.id), {"files": 2, "bytes": 10})


def test_zero_days_keep_everything(open_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAC_KEEP_LOGS_DAYS", "0")
    monkeypatch.setenv("CMAC_KEEP_CURVES_DAYS", "0")
    settings.cache_clear()
    job = ended(open_lab, 5000, points=100)
    monkeypatch.setenv("CMAC_KEEP_EVENTS_DAYS", "0")
    settings.cache_clear()
    assert retention.run_pass() == {}
    assert retention.waiting(open_lab.session) == {"deleted": 0, "logs": 0, "curves": 0, "events": 0}
    assert "log.txt" in left(job.id)


def test_a_pass_is_small_and_begins_with_what_ended_first(open_lab: Lab) -> None:
    jobs = [ended(open_lab, days) for days in (100, 300, 200)]
    assert retention.waiting(open_lab.session) == {"deleted": 0, "logs": 3, "curves": 3, "events": 3}
    open_lab.session.commit()
    assert retention.run_pass(batch=2) == {"logs": 2, "curves": 2, "events": 2}
    assert ["log.txt" in left(job.id) for job in jobs] == [True, False, False]
    told = {figure.name: figure.values for figure in figures.read(open_lab.session)}
    assert dict(told["cmac_retention_due"]) == {("deleted",): 0, ("logs",): 1, ("curves",): 1, ("events",): 1}
    assert dict(told["cmac_retention_jobs"]) == {("deleted",): 0, ("logs",): 2, ("curves",): 2, ("events",): 2}


def test_a_job_that_another_worker_is_at_is_left_to_it(open_lab: Lab) -> None:
    job = ended(open_lab, 91)
    open_lab.session.execute(select(Job).where(Job.id == job.id).with_for_update())
    assert retention.run_pass() == {}
    open_lab.session.rollback()
    assert retention.run_pass() == {"logs": 1, "curves": 1, "events": 1}


def types(lab: Lab, job: Job) -> list[str]:
    return [event.type for event in job_events.after(lab.session, job.id)]


def test_of_old_events_warnings_and_the_end_stay(open_lab: Lab) -> None:
    lab = open_lab
    old = lab.submit("retrieval")
    lease = lab.run(old)
    lab.tell(lease, Warned(code="slow", message="this is slow"))
    lab.finish(lease, Reason.user_error)
    old.ended_at = func.now() - timedelta(days=91)
    young = ended(lab, 89)
    before = types(lab, old), types(lab, young)
    lab.session.commit()
    retention.run_pass()
    lab.session.refresh(old)
    assert (types(lab, old), types(lab, young)) == (["warning", "end"], before[1])
    assert (old.events_removed_at is not None, young.events_removed_at) == (True, None)
    row = lab.session.scalars(select(Audit).where(Audit.action == "retention.events")).one()
    assert row.after == {"events": len(before[0]) - 2}


def test_a_history_stays_while_a_job_that_lives_waits_for_it_or_retries_it(open_lab: Lab) -> None:
    lab = open_lab
    failed, awaited, alone = (ended(lab, 91) for _ in range(3))
    again = jobs.retry(lab.session, failed.id, lab.principal)
    child = lab.submit("retrieval", queue={"after": [{"job": str(awaited.id), "kind": "afterany"}], "hold": True})
    lab.session.commit()
    assert retention.waiting(lab.session)["events"] == 1
    lab.session.commit()
    assert retention.run_pass()["events"] == 1
    assert [types(lab, one) == ["end"] for one in (failed, awaited, alone)] == [False, False, True]
    for one in (again, child):
        verbs.cancel(lab.session, one.id, lab.principal)
    lab.session.commit()
    assert retention.run_pass() == {"events": 2}
    assert types(lab, failed) == types(lab, awaited) == ["end"]


def test_a_thinned_curve_keeps_its_ends_its_spikes_and_its_shape(open_lab: Lab) -> None:
    lab = open_lab
    job = ended(lab, 91, points=1000)
    spikes = {333: 99.0, 666: -99.0}
    for step, value in spikes.items():
        lab.session.execute(update(Metric).where(Metric.step == step).values(value=value))
    lab.session.execute(update(Metric).where(Metric.step == 500).values(value=None))
    short = ended(lab, 91, points=20)
    before = metrics.series(lab.session, job.id, points=10)[0]
    lab.session.commit()
    retention.run_pass()
    (curve,) = metrics.series(lab.session, job.id, points=0)
    points = dict(zip(curve["x"], curve["y"], strict=True))
    assert 20 <= len(points) <= 31
    assert (points[0], points[999]) == (0.0, 999 % 7)
    assert {step: points[step] for step in spikes} == spikes
    assert (max(before["max"]), min(before["min"])) == (99.0, -99.0)
    gaps = [after - at for at, after in zip(curve["x"], curve["x"][1:], strict=False)]
    assert max(gaps) <= 100
    assert len(metrics.series(lab.session, short.id, points=0)[0]["x"]) == 20


def test_points_that_a_restart_overtook_go_with_the_thinning(open_lab: Lab) -> None:
    lab = open_lab
    job = lab.submit()
    lease = lab.run(job)
    lab.tell(lease, *(Metrics(step=step, values={"loss": 1.0}) for step in range(50)))
    lab.save(job, lease, 20)
    lab.finish(lease, Reason.supervisor_lost)
    again = lab.run(job)
    lab.tell(again, *(Metrics(step=step, values={"loss": 2.0}) for step in range(21, 60)))
    assert metrics.thin_out(lab.session, job.id) > 0
    rows = lab.session.execute(select(Metric.epoch, Metric.step).order_by(Metric.step)).all()
    assert all(epoch == 1 if step <= 20 else epoch == 2 for epoch, step in rows)
    assert rows[-1] == (2, 59)


def test_a_deleted_job_leaves_nothing_but_its_mark(open_lab: Lab) -> None:
    lab = open_lab
    job, other = ended(lab, 0, points=5), ended(lab, 0, points=5)
    deletion.delete(lab.session, job.id, lab.principal)
    lab.session.commit()
    assert retention.run_pass() == {"deleted": 1}
    assert not settings().job_folder(job.id).exists()
    assert "log.txt" in left(other.id)
    assert metrics.names(lab.session, job.id) == []
    assert metrics.names(lab.session, other.id) == ["loss"]
    assert [one.id for one in jobs.page(lab.session, lab.principal, {}).items] == [other.id]
    with pytest.raises(Gone):
        jobs.get(lab.session, job.id, lab.principal)


def test_what_is_needed_is_not_deleted(open_lab: Lab) -> None:
    lab = open_lab
    trained = lab.submit(checkpoints={"keep": 0})
    with pytest.raises(IllegalMove):
        deletion.delete(lab.session, trained.id, lab.principal)
    lab.succeed(trained)
    reader = lab.submit("retrieval", checkpoint={"job": str(trained.id)})
    with pytest.raises(InUse) as refused:
        deletion.delete(lab.session, trained.id, lab.principal)
    assert refused.value.members["by"] == str(reader.id)
    verbs.cancel(lab.session, reader.id, lab.principal)
    deletion.delete(lab.session, reader.id, lab.principal)
    checkpoint = checkpoints.of_job(lab.session, trained.id)[0]
    checkpoints.pin(lab.session, checkpoint.id, lab.principal, pinned=True)
    with pytest.raises(InUse, match="admin"):
        deletion.delete(lab.session, trained.id, lab.principal)
    checkpoints.pin(lab.session, checkpoint.id, lab.principal, pinned=False)
    deletion.delete(lab.session, trained.id, lab.principal)
    assert checkpoint.state == "deleting"
    with pytest.raises(UnknownReference):
        lab.submit("retrieval", checkpoint={"job": str(trained.id)})
