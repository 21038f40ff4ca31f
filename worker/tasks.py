"""What the consumer does: seconds of work. Messages wake; the database decides."""

import os
from uuid import UUID

from celery.signals import worker_process_init

from store import database, queue
from store.settings import settings
from worker import here
from worker.celery_app import PING, app
from worker.claim import take_up
from worker.settings import node_folder

CONSUMED = "consumed"  # touched by every ping that comes through


@worker_process_init.connect
def forget_connections(**_: object) -> None:
    """A connection does not survive a fork."""
    database.forget()


@app.task(name=queue.LAUNCH)
def launch(attempt_id: str, epoch: int) -> None:
    """Start the supervisor of a part, once: Redis may deliver twice, and only one delivery gets through."""
    with database.sessions() as session:
        node_id = here.node_id(session)
    if node_id is not None:
        take_up(UUID(attempt_id), epoch, node_id)


@app.task(name=PING)
def ping() -> None:
    """Show that messages come through."""
    file = node_folder() / CONSUMED
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file)


def last_ping() -> float | None:
    """When a ping came through last, by the file's clock; None before the first."""
    settings()
    file = node_folder() / CONSUMED
    return file.stat().st_mtime if file.exists() else None
