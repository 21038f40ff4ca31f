"""The node loop: tells that this machine lives, and looks after what runs on it. It needs no broker."""

import logging
import os
import subprocess
import threading
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from store import attempts, database, nodes
from store.attempts import LivePart
from store.errors import NotFound
from store.fence import Lease
from store.nodes import FoundDevice
from store.settings import settings
from store.states import PartState
from worker import here
from worker.burial import bury, is_orphan, supervisor_of
from worker.claim import take_up
from worker.logs import bound
from worker.marks import Census, Mark, marked
from worker.processes import Identity, ends, kill_all, lives
from worker.settings import node_folder

log = logging.getLogger(__name__)

PAUSE = 5.0  # s
READY_FILE = "ready"
UNMESSAGED = 10.0  # s after which a part is taken up without a message


def announce() -> None:
    """Let `cmac up` know that this machine is registered: the file holds the pid of the worker it belongs to."""
    node_folder().mkdir(parents=True, exist_ok=True)
    (node_folder() / READY_FILE).write_text(str(os.getppid()))


@dataclass
class NodeLoop:
    """One look at this machine and at what the database believes of it."""

    node_id: uuid.UUID | None = None
    wake: Callable[[], None] = lambda: None  # for the next look, as soon as a supervisor has ended
    _census: Census | None = None
    _doubtful: dict[int, Mark] = field(default_factory=dict)  # seen once with the mark of what is over

    def look(self) -> None:
        """Heartbeat, parts without a message, parts without a supervisor, processes without a part."""
        first = self.node_id is None
        # Before the parts: what is new then is no zombie.
        self._census = self._census or Census(settings().installation, settings().node_name)
        seen = self._census.take()
        believed = self._tell()
        if first:
            announce()
        for part in believed.parts:
            with bound(job=part.job_id, attempt=part.lease.attempt):
                self._look_after(part, believed.node_id)
        self._clear_devices(believed)
        self._sweep(seen, {part.lease for part in believed.parts})
        if supervisors := [one for part in believed.parts if (one := supervisor_of(part)) and lives(one)]:
            threading.Thread(target=self._watch, args=[supervisors], name="watch", daemon=True).start()

    def _watch(self, supervisors: list[Identity]) -> None:
        """Until the next look is due. One that was killed can tell nobody, and its job could be stepping again."""
        with suppress(ProcessLookupError), ends(one.pid for one in supervisors) as ended:
            if ended.wait(settings().times.scaled(PAUSE)):
                self.wake()

    def _tell(self) -> "Believed":
        if self.node_id is not None:
            try:
                return database.transact(partial(_beat, node_id=self.node_id, devices=here.devices()))
            except NotFound:
                log.warning("this machine is unknown to the database; registering anew")
        self.node_id = database.transact(here.register).id
        log.info("registered", extra={"data": {"node": settings().node_name, "id": self.node_id}})
        return database.transact(partial(_believed, node_id=self.node_id))

    def _look_after(self, part: LivePart, node_id: uuid.UUID) -> None:
        try:
            if part.state is PartState.dispatched:
                if part.dispatched_s > settings().times.scaled(UNMESSAGED):
                    take_up(part.lease.attempt, part.lease.epoch, node_id)
            elif is_orphan(part):
                bury(part)
        except (OSError, subprocess.SubprocessError, SQLAlchemyError) as error:
            if database.is_away(error):
                raise
            log.exception("this part has to wait")  # the others have not

    def _clear_devices(self, believed: "Believed") -> None:
        """Attempts that were given up for lost while their devices were ours: end what is left, then free them."""
        for attempt in believed.leftover:
            if self._kill(lambda mark: mark.attempt == attempt):  # noqa: B023
                release = partial(attempts.release, attempt=attempt, node_id=believed.node_id)
                database.transact(release)
                log.warning("leftover cleared", extra={"data": {"attempt": attempt}})

    def _sweep(self, seen: dict[int, Mark], live: set[Lease]) -> None:
        """End processes of what is over. Twice seen, since a supervisor takes a moment to leave after its end."""
        dead = {pid: mark for pid, mark in seen.items() if Lease(mark.attempt, mark.epoch, mark.part) not in live}
        zombies = {mark for pid, mark in dead.items() if self._doubtful.get(pid) == mark}
        if zombies:
            log.warning(
                "processes of ended attempts", extra={"data": {"attempts": sorted({m.attempt for m in zombies})}}
            )
            self._kill(lambda mark: mark in zombies)
        self._doubtful = dead

    def _kill(self, wanted: Callable[[Mark], bool]) -> bool:
        def find() -> list[int]:
            found = marked(settings().installation, settings().node_name)
            return [pid for pid, mark in found.items() if wanted(mark)]

        return kill_all(find)


class Believed(NamedTuple):
    """What the database believes of this machine."""

    node_id: uuid.UUID
    parts: list[LivePart]
    leftover: list[uuid.UUID]  # attempts that are over and still hold devices here


def _beat(session: Session, node_id: uuid.UUID, devices: list[FoundDevice]) -> Believed:
    nodes.heartbeat(session, node_id, devices)
    return _believed(session, node_id)


def _believed(session: Session, node_id: uuid.UUID) -> Believed:
    return Believed(node_id, attempts.live_parts(session, node_id), attempts.leftover(session, node_id))
