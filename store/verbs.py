"""What people ask of a job that is there: cancel, pause, resume, hold, release, and to change what they may."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from store import audit, job_events, notices, walltime
from store.ending import Ending, end
from store.ends import STOPPED, Reason
from store.errors import Forbidden, IllegalMove
from store.jobs import allowed, get, may_change
from store.keys import SYSTEM, Principal, Role
from store.moves import lock, move, settle
from store.states import (
    ACTIVE,
    FINAL,
    LIVE_PARTS,
    WAITING,
    AttemptState,
    Desired,
    JobState,
    PartState,
    Priority,
    StopFor,
)
from store.tables import Attempt, Job, JobEdge, Part


def cancel(session: Session, job_id: UUID, principal: Principal, *, force: bool = False, why: str = "") -> Job:
    """Ask for the end: at once while it waits, else the supervisor saves and leaves (`force`: without saving).

    Asking again changes nothing. Raises NotFound, IllegalMove (final otherwise), Forbidden (not yours).
    """
    may_change(get(session, job_id, principal), principal)
    job, attempt = _lock_both(session, job_id)
    if job.state is JobState.cancelled:
        return job
    if job.state in FINAL:
        raise IllegalMove(f"job {job.id} has {job.state} already", state=str(job.state), allowed=allowed(job))
    before, after = {"state": str(job.state)}, {"force": force, "why": why}
    audit.write(session, principal, "job.cancel", str(job.id), before=before, after=after)
    job.ended_by = principal.user
    if job.state in WAITING:
        return move(session, job, JobState.cancelled, principal.user, reason=str(Reason.cancelled), detail=why)
    assert attempt is not None
    return _leave(session, job, attempt, principal, StopFor.cancel, force=force, why=why)


def pause(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Ask one that runs to save and give its devices back; `resume` goes on from there. Asking again changes nothing.

    Raises NotFound, IllegalMove (it does not run: `hold` is for that), Forbidden.
    """
    may_change(get(session, job_id, principal), principal)
    job, attempt = _lock_both(session, job_id)
    if job.state is JobState.paused or job.stop_for is StopFor.pause:
        return job
    if attempt is None or not StopFor.pause.is_stronger_than(job.stop_for):
        raise _illegal(job, "paused")
    audit.write(session, principal, "job.pause", str(job.id), before={"state": str(job.state)})
    return _leave(session, job, attempt, principal, StopFor.pause)


def vacate(session: Session, job_id: UUID, stop_for: StopFor, why: str) -> bool:
    """Ask a running job to save, leave its machine and wait in line again; whether it could be asked.

    For the scheduler (preempt) and for machines that are drained.
    """
    job, attempt = _lock_both(session, job_id)
    if attempt is None or job.state not in (JobState.scheduled, JobState.running):
        return False  # it has ended, or leaves already
    audit.write(session, SYSTEM, f"job.{stop_for}", str(job.id), after={"why": why})
    _leave(session, job, attempt, SYSTEM, stop_for, why=why)
    return True


def resume(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Queue one that is paused, as old as it is. Raises NotFound, IllegalMove, Forbidden."""
    job = _asked(session, job_id, principal)
    if job.state in (JobState.queued, *ACTIVE) and job.stop_for is None:
        return job
    _only(job, JobState.paused, "resume")
    job.not_before = None
    return _moved(session, job, JobState.queued, principal, "job.resume")


def hold(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Keep one that waits from starting. Asking again changes nothing. Raises NotFound, IllegalMove, Forbidden."""
    job = _asked(session, job_id, principal)
    if job.state is JobState.held:
        return job
    if job.state not in (JobState.queued, JobState.blocked):
        raise _illegal(job, "held")
    return _moved(session, job, JobState.held, principal, "job.hold")


def release(session: Session, job_id: UUID, principal: Principal) -> Job:
    """Let one that is held wait for its turn, or for its parents. Raises NotFound, IllegalMove, Forbidden."""
    job = _asked(session, job_id, principal)
    if job.state in (JobState.queued, JobState.blocked):
        return job
    _only(job, JobState.held, "release")
    parents = session.scalars(select(JobEdge.parent).where(JobEdge.child == job.id)).all()
    _moved(session, job, JobState.blocked if parents else JobState.queued, principal, "job.release")
    if parents:
        job.waiting = _waiting("dependency", f"waits for job {', '.join(map(str, parents))}")
        settle(session, job)
    return job


def change(session: Session, job_id: UUID, principal: Principal, wanted: Mapping[str, Any]) -> Job:
    """Change name, labels (whole), priority, walltime_s or max_restarts; the stored spec stays what was submitted.

    Raises NotFound, Forbidden (not yours; priority urgent; more time for one that runs), IllegalMove (of a final job
    no more than name and labels), InvalidSpec (less time than it may take to save).
    """
    job = _asked(session, job_id, principal)
    before = {name: getattr(job, name) for name in wanted}
    if job.state in FINAL and set(wanted) - {"name", "labels"}:
        raise _illegal(job, "changed in more than its name and labels")
    values = dict(wanted)
    if "walltime_s" in values:
        _check_walltime(job, principal, values["walltime_s"])
    if "priority" in values:
        priority = Priority(values["priority"])
        if priority is Priority.urgent and not principal.role.includes(Role.operator):
            raise Forbidden("priority urgent is for operators", needs_role=str(Role.operator))
        values["priority"] = priority.rank
    if all(before[name] == value for name, value in values.items()):
        return job
    for name, value in values.items():
        setattr(job, name, value)
    job_events.add(session, job, "changed", principal.user, {"before": before, "after": values})
    audit.write(session, principal, "job.change", str(job.id), before=before, after=values)
    notices.notify(session, notices.QUEUE)
    session.flush()
    return job


def _check_walltime(job: Job, principal: Principal, walltime_s: float | None) -> None:
    walltime.check(walltime_s, job.grace_s)
    more = job.walltime_s is not None and (walltime_s is None or walltime_s > job.walltime_s)
    # Others were told when it ends, and were planned around it.
    if more and job.state in ACTIVE and not principal.role.includes(Role.operator):
        raise Forbidden("more time for a job that runs is for operators", needs_role=str(Role.operator))


def _waiting(code: str, text: str) -> dict[str, Any]:
    return {"code": code, "text": text, "expected_start": None}


def _asked(session: Session, job_id: UUID, principal: Principal) -> Job:
    may_change(get(session, job_id, principal), principal)
    return lock(session, job_id)


def _only(job: Job, state: JobState, verb: str) -> None:
    if job.state is not state:
        raise IllegalMove(
            f"{verb} is for a job that is {state}; {job.id} is {job.state}", state=str(job.state), allowed=allowed(job)
        )


def _illegal(job: Job, become: str) -> IllegalMove:
    return IllegalMove(f"a job that is {job.state} cannot be {become}", state=str(job.state), allowed=allowed(job))


def _moved(session: Session, job: Job, to: JobState, principal: Principal, action: str) -> Job:
    audit.write(session, principal, action, str(job.id), before={"state": str(job.state)})
    move(session, job, to, principal.user)
    # What it waited for is over; the next pass says what it waits for now.
    held = _waiting("held", f"held by {principal.user}; release lets it wait again")
    job.waiting = held if to is JobState.held else None
    session.flush()
    return job


def _lock_both(session: Session, job_id: UUID) -> tuple[Job, Attempt | None]:
    """A job and its living attempt, locked in that order of tables that all keep: parts, attempts, jobs."""
    for _ in range(5):
        with session.begin_nested() as point:
            attempt = _lock_live_attempt(session, job_id)
            job = lock(session, job_id)
            if job.state not in ACTIVE or (attempt is not None and attempt.epoch == job.epoch):
                return job, attempt if job.state in ACTIVE else None
            point.rollback()  # it was placed in between
    raise IllegalMove(f"job {job_id} is moving too fast; ask again", state=str(job.state), allowed=allowed(job))


def _lock_live_attempt(session: Session, job_id: UUID) -> Attempt | None:
    live = select(Attempt.id).where(Attempt.job_id == job_id, Attempt.state != AttemptState.exited)
    attempt = session.scalar(live)
    if attempt is None:
        return None
    session.execute(select(Part.part).where(Part.attempt_id == attempt).order_by(Part.part).with_for_update())
    return session.get(Attempt, attempt, with_for_update={"key_share": True}, populate_existing=True)


def _leave(
    session: Session,
    job: Job,
    attempt: Attempt,
    principal: Principal,
    stop_for: StopFor,
    *,
    force: bool = False,
    why: str = "",
) -> Job:
    """Ask a living attempt to save and leave within its grace; one that no machine has taken up is over at once."""
    attempt.desired, attempt.stop_for = Desired.stop, stop_for
    deadline = func.now() + timedelta(seconds=0.0 if force else job.grace_s)
    attempt.stop_deadline = func.least(func.coalesce(attempt.stop_deadline, deadline), deadline) if force else deadline
    if job.state is not JobState.stopping:
        move(session, job, JobState.stopping, principal.user, detail=why, stop_for=stop_for)
    elif job.stop_for is not stop_for:
        job.stop_for = stop_for
        job_events.add(session, job, "state", principal.user, {"state": job.state, "stop_for": stop_for})
    session.flush()
    _end_unclaimed(session, attempt, stop_for, why)
    return job


def _end_unclaimed(session: Session, attempt: Attempt, stop_for: StopFor, why: str) -> None:
    """An attempt that no machine has taken up needs no supervisor to end."""
    states = session.scalars(select(Part.state).where(Part.attempt_id == attempt.id)).all()
    if any(state in LIVE_PARTS and state is not PartState.dispatched for state in states):
        return
    session.execute(update(Part).where(Part.attempt_id == attempt.id).values(state=PartState.exited))
    end(session, attempt, Ending(STOPPED[stop_for], why, ""), exit_code=None, log_tail="", release=True)
