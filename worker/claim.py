"""Take up what was placed on this machine: by a message, or by looking when none comes."""

import logging
import uuid

from sqlalchemy import select
from sqlalchemy.orm import Session

from store import attempts, database
from store.fence import Lease
from store.settings import settings
from store.tables import Attempt
from worker import here
from worker.launch import start_supervisor
from worker.logs import bound

log = logging.getLogger(__name__)


def take_up(attempt: uuid.UUID, epoch: int, node_id: uuid.UUID) -> bool:
    """Claim a part and start its supervisor; False when it was taken already, or is over.

    Between claim and start nothing is lost: a part that stays without a supervisor is placed anew (QUEUE 5).
    """

    def claim(session: Session) -> tuple[Lease, uuid.UUID] | None:
        lease = attempts.claim(session, attempt, epoch, node_id)
        if lease is None:
            return None
        return lease, session.scalars(select(Attempt.job_id).where(Attempt.id == attempt)).one()

    claimed = database.transact(claim)
    if claimed is None:
        log.debug("not mine to start", extra={"data": {"attempt": attempt, "epoch": epoch}})
        return False
    lease, job_id = claimed
    with bound(job=job_id, attempt=attempt, epoch=epoch):
        start_supervisor(here.mark(lease), settings().attempt_folder(job_id, epoch))
        log.info("supervisor started")
    return True
