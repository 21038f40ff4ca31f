"""The control loops on a real database: told at once, and out of the next one's way."""

import threading
import uuid
from typing import TYPE_CHECKING

from sqlalchemy import select

from store import database, nodes
from store.leaders import SCHEDULER
from store.tables import Leader, Outbox
from worker import here
from worker.control import Control

if TYPE_CHECKING:
    from conftest import Stage


def test_a_job_is_placed_when_it_is_told_of_and_another_may_lead_at_once(stage: "Stage") -> None:
    for _ in range(2):
        control = Control()
        control.holder = f"{stage.node}/{id(control)}"
        thread = threading.Thread(target=control.run)
        thread.start()
        try:
            stage.until(lambda: led_by(stage) == control.holder)  # noqa: B023
            job = stage.submit(resources={"cpu_slots": 1})
            stage.until(lambda: placed(stage, job))  # noqa: B023
        finally:
            control.stop()
            thread.join(10)
        assert not thread.is_alive()
    sent = stage.read(lambda session: session.scalars(select(Outbox.error)).all())
    assert sent, "the message is kept while there is no broker"


def placed(stage: "Stage", job: uuid.UUID) -> bool:
    """Whether it has been, while this machine is heard of."""
    database.transact(lambda session: nodes.heartbeat(session, stage.node, here.devices()))
    return stage.job(job).epoch > 0


def led_by(stage: "Stage") -> str | None:
    return stage.read(lambda session: session.scalar(select(Leader.holder).where(Leader.name == SCHEDULER)))
