"""What the database says only while it is so: why a job waits, and the state of a machine."""

import threading
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from sqlalchemy import func, select

from store import database
from store.states import JobState, NodeState
from store.tables import Job, Node

PAUSE_S = 0.25


@dataclass(frozen=True)
class Said:
    """Why a job waited from this moment on."""

    at: datetime
    job: UUID
    code: str
    text: str
    expected: str | None = None


@dataclass
class Watch:
    """Looks a few times a second, in a thread of its own, and keeps what has changed."""

    waits: list[Said] = field(default_factory=list)
    nodes: list[tuple[datetime, str, NodeState, str]] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None
    _last: dict[object, Any] = field(default_factory=dict)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            self.look()

    def look(self) -> None:
        """Compare with the last look."""
        with database.sessions() as session:
            now = session.scalars(select(func.now())).one()
            jobs = session.execute(select(Job.id, Job.waiting).where(Job.state == JobState.queued)).all()
            nodes = session.execute(select(Node.name, Node.state, Node.reason).order_by(Node.name)).all()
        for job, waiting in jobs:
            if waiting and self._is_new(job, (waiting["code"], waiting["text"])):
                said = Said(now, job, waiting["code"], waiting["text"], waiting["expected_start"])
                self.waits.append(said)
        for name, state, reason in nodes:
            if self._is_new(name, state):
                self.nodes.append((now, name, state, reason or ""))

    def _is_new(self, what: object, seen: object) -> bool:
        is_new = self._last.get(what) != seen
        self._last[what] = seen
        return is_new
