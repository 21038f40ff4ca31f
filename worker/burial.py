"""What is left of an attempt whose supervisor is gone: its processes ended, its last lines kept, its end told."""

import logging

from sqlalchemy.orm import Session

from cmac_core.retention import CHECKPOINTS, remove_drafts
from store import attempts, database, ends, fence
from store.attempts import LivePart
from store.ends import Reason, Verdict
from store.errors import AlreadyRecorded, Fenced
from store.log_files import log_file
from worker import here
from worker.ingest import ingest
from worker.logs import bound
from worker.marks import carrying
from worker.processes import Identity, boot_id, kill_all, lives
from worker.supervisor.lines import Portion, Words, read_portion, words
from worker.supervisor.verdict import tail_of

log = logging.getLogger(__name__)


def supervisor_of(part: LivePart) -> Identity | None:
    """The part's supervisor, alive or not; None when it has had none."""
    if part.pid is None or part.pid_start is None or part.pid_ns is None or part.boot_id is None:
        return None
    return Identity(part.pid, part.pid_start, part.pid_ns, part.boot_id)


def is_orphan(part: LivePart) -> bool:
    """Whether the part has had a supervisor, and it is gone."""
    supervisor = supervisor_of(part)
    return supervisor is not None and not lives(supervisor)


def bury(part: LivePart) -> bool:
    """End the part in the supervisor's stead, under the same fence; False when that must wait or is done."""
    with bound(job=part.job_id, attempt=part.lease.attempt, epoch=part.lease.epoch):
        mark = here.mark(part.lease)
        if not kill_all(lambda: carrying(mark)):
            log.error("a process cannot be killed; its devices stay taken")
            return False
        if part.lease.part == 0:
            remove_drafts(part.folder / CHECKPOINTS)
        said = words(part.folder)
        offset = part.events_offset
        try:
            while part.lease.part == 0 and (portion := read_portion(part.folder, offset)).offset > offset:
                offset = _tell(part, offset, portion)
            verdict = judge(part, said)
            database.transact(lambda session: _close(session, part, offset, verdict))
        except Fenced:
            return False
        log.warning("supervisor is gone; ended in its stead", extra={"data": {"reason": verdict.reason}})
        return True


def judge(part: LivePart, said: Words) -> Verdict:
    """The run's own last word counts, except that it left: unasked, it left because its supervisor died."""
    if said.ended is not None and (said.ended.outcome != "left" or part.stop_for is not None):
        return ends.judge(said.ended, None, part.stop_for, said.started)
    if part.stop_for is not None:
        return Verdict(ends.STOPPED[part.stop_for], "Its supervisor died while it was being stopped.")
    if part.boot_id != boot_id():
        return Verdict(Reason.node_rebooted, "The machine was restarted.")
    return Verdict(Reason.supervisor_lost, "The process that watched over the run is gone; what was left was ended.")


def _tell(part: LivePart, offset: int, portion: Portion) -> int:
    def write(session: Session) -> None:
        fence.beat(session, part.lease, offset, portion.offset)
        ingest(session, part.lease, portion.events)

    try:
        database.transact(write)
    except AlreadyRecorded as recorded:  # the supervisor's last commit came after our look
        return recorded.offset
    return portion.offset


def _close(session: Session, part: LivePart, offset: int, verdict: Verdict) -> None:
    fence.beat(session, part.lease, offset, offset)
    tail = tail_of(log_file(part.folder, part.lease.part))
    attempts.finish(session, part.lease, verdict.reason, None, verdict.detail, verdict.hint, tail)
