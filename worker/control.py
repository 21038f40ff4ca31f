"""The control loops: scheduler, reconciler, relay, webhooks. Any worker runs them; the database says who leads."""

import logging
import os
import threading

from store import database, leaders, outbox, queue, reconciler, retention, scheduler
from store.leaders import RECONCILER, SCHEDULER
from store.notices import QUEUE, Listener
from store.settings import settings
from worker import receivers
from worker.loops import Loop
from worker.patience import Unreachable, reach

log = logging.getLogger(__name__)

SCHEDULE_EVERY = 1.0  # s, and at once when told
RESTED_EVERY = 5.0  # while nobody waits
REPAIR_EVERY = 5.0
RELAY_EVERY = 5.0  # and at once when something was placed here
CALL_EVERY = 10.0  # and at once when something has ended here or elsewhere
KEEP_EVERY = 60.0
BATCH = 50


class Control:
    """All of them, and the ear that wakes them."""

    def __init__(self) -> None:
        self.holder = f"{settings().node_name}/{os.getpid()}"
        self.schedule = Loop("scheduler", self._schedule, SCHEDULE_EVERY)
        self.repair = Loop("reconciler", self._repair, settings().times.scaled(REPAIR_EVERY))
        self.relay = Loop("relay", self._relay, RELAY_EVERY)
        self.keep = Loop("retention", self._keep, KEEP_EVERY)
        self.ear = Loop("listener", self._listen, 0.0)
        self.webhooks = Loop("webhooks", self._call, CALL_EVERY)  # a receiver that hangs holds this loop alone
        self.loops = [self.schedule, self.repair, self.relay, self.keep, self.ear, self.webhooks]
        self.leads = False  # the repairs: then also what is kept for how long

    def run(self) -> None:
        """Until `stop`."""
        threads = {loop.name: threading.Thread(target=loop.run, name=loop.name) for loop in self.loops}
        for thread in threads.values():
            thread.start()
        last = threads.pop(self.webhooks.name)
        for thread in threads.values():
            thread.join()
        self._resign()  # before a receiver's answer is waited for
        last.join()

    def stop(self) -> None:
        for loop in self.loops:
            loop.stop()

    def _resign(self) -> None:
        """So that the next worker leads at once, and does not wait for a lease to run out."""
        for name in (SCHEDULER, RECONCILER):
            try:
                reach(lambda session: leaders.resign(session, name, self.holder))  # noqa: B023
            except Unreachable:
                log.info("the database is away; the lead ends by itself")

    def _schedule(self) -> None:
        done = scheduler.run_pass(self.holder)
        rests = not done.placed and not done.waiting
        self.schedule.pause = settings().times.scaled(RESTED_EVERY) if rests else SCHEDULE_EVERY
        if done.placed:
            log.info("placed", extra={"data": {"jobs": done.placed, "waiting": done.waiting, "seconds": done.seconds}})
            self.relay.wake()

    def _repair(self) -> None:
        self.leads, done = reconciler.run_pass(self.holder)
        if found := {name: count for name, count in done.items() if count}:
            log.warning("repaired", extra={"data": found})
            self.schedule.wake()

    def _keep(self) -> None:
        # A loop of its own: no lost machine waits until files are removed.
        if self.leads and (done := retention.run_pass()):
            log.info("kept for long enough", extra={"data": done})

    def _relay(self) -> None:
        while database.transact(lambda session: outbox.relay(session, queue.send, BATCH)) == BATCH:
            pass

    def _call(self) -> None:
        while receivers.call() and not self.webhooks.stopping.is_set():
            pass

    def _listen(self) -> None:
        with Listener(QUEUE) as listener:
            self.schedule.wake()  # what was told before this ear was there
            while not self.ear.stopping.is_set():
                if listener.wait(1.0):
                    self.schedule.wake()
                    self.webhooks.wake()
