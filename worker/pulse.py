"""Whether messages come through: a consumer may be connected and consume nothing, and does not know it."""

import logging
import threading
import time
from types import TracebackType
from typing import Self

from store import database, queue
from worker import here
from worker.celery_app import PING
from worker.household import Member
from worker.loops import Loop
from worker.tasks import last_ping

log = logging.getLogger(__name__)

PING_EVERY = 60.0  # s
UNSEEN = 180.0  # s without one, with a broker that takes messages: the consumer is started anew


class Pulse:
    """Sends pings to this node's own queue and restarts the consumer when none comes through any more."""

    def __init__(self, consumer: Member) -> None:
        self.consumer = consumer
        self.seen = time.time()
        self.loop = Loop("pulse", self.look, PING_EVERY)
        self.thread = threading.Thread(target=self.loop.run, name="pulse", daemon=True)

    def look(self) -> None:
        """One ping; the node loop takes up what the consumer misses meanwhile."""
        with database.sessions() as session:
            node_id = here.node_id(session)
        if node_id is None or not queue.broker_answers():
            self.seen = time.time()  # nothing can come through: that is not the consumer's fault
            return
        self.seen = max(self.seen, last_ping() or 0.0)
        if time.time() - self.seen > UNSEEN:
            log.error("no message comes through; the consumer is started anew")
            self.consumer.restart()
            self.seen = time.time()
        queue.producer().send_task(PING, queue=queue.node_queue(node_id), retry=False, expires=PING_EVERY)

    def __enter__(self) -> Self:
        self.thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.loop.stop()
