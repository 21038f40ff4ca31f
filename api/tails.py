"""What streams follow: a job's events, its curves, its log. Each reads in a short transaction of its own."""

from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy.orm import Session

from api import logs
from api.sse import Sent
from api.views.jobs import EventView
from store import job_events, metrics, tries
from store.database import sessions
from store.log_files import log_file
from store.settings import settings
from store.states import FINAL
from store.tables import Job

END = "end"
_BATCH = 500
_LOG_POLL_S = 0.5


def _end(job: Job | None, id: str | None) -> Sent:
    if job is None:
        return Sent(END, {"state": "removed"}, id)
    return Sent(END, {"state": job.state, "reason": job.reason, "detail": job.detail}, id)


class EventTail:
    """Kept events behind `seq`, each once; progress and the waiting text as they change, without an id."""

    poll_s: float | None = None

    def __init__(self, job: UUID, seq: int = 0) -> None:
        self._job, self._seq = job, seq
        self._live: dict[str, Any] = {}
        self._last = ""
        self.ended = False

    def read(self) -> list[Sent]:
        with sessions() as session:
            # The job first: what is final has all its events.
            job = session.get(Job, self._job)
            events = job_events.after(session, self._job, self._seq, _BATCH)
            sent = [Sent(event.type, EventView.model_validate(event), str(event.seq)) for event in events]
            if events:
                self._seq, self._last = events[-1].seq, events[-1].type
            if len(events) == _BATCH:
                return sent
            if job is not None:
                sent += self._news(job)
            if job is None or job.state in FINAL:
                self.ended = True
                if self._last != END:
                    sent.append(_end(job, None))
            return sent

    def _news(self, job: Job) -> list[Sent]:
        if job.state in FINAL:
            return []
        now = {"waiting": job.waiting, "progress": job.progress}
        changed = [Sent(name, value) for name, value in now.items() if value and value != self._live.get(name)]
        self._live = now
        return changed


class MetricTail:
    """Points behind (epoch, step). A step may get more values later: then these alone are sent."""

    poll_s: float | None = None

    def __init__(
        self, job: UUID, names: list[str] | None, epoch: int = 0, step: int = -1, count: int = 1 << 53
    ) -> None:
        self._job, self._names = job, set(names or ())
        self._epoch, self._step = epoch, step
        self._known: set[str] | int = count  # names sent at the newest step; after a reconnect only how many
        self.ended = False

    def has_more(self) -> bool:
        """Whether anything lies behind the position."""
        with sessions() as session:
            groups = metrics.after(session, self._job, self._epoch, self._step - 1)
            known = self._known if isinstance(self._known, int) else len(self._known)
            return any((g["epoch"], g["step"]) != (self._epoch, self._step) or len(g["values"]) > known for g in groups)

    def read(self) -> list[Sent]:
        with sessions() as session:
            job = session.get(Job, self._job)
            groups = metrics.after(session, self._job, self._epoch, self._step - 1)
            sent = [event for group in groups if (event := self._news(group)) is not None]
            if not sent and (job is None or job.state in FINAL):
                self.ended = True
                sent.append(_end(job, None))
            return sent

    def _news(self, group: dict[str, Any]) -> Sent | None:
        values: dict[str, Any] = group["values"]
        if (group["epoch"], group["step"]) == (self._epoch, self._step):
            if isinstance(self._known, int):
                fresh = {} if len(values) <= self._known else values
            else:
                fresh = {name: value for name, value in values.items() if name not in self._known}
        else:
            fresh = values
        self._epoch, self._step, self._known = group["epoch"], group["step"], set(values)
        shown = {name: value for name, value in fresh.items() if not self._names or name in self._names}
        if not shown:
            return None
        return Sent("points", {**group, "values": shown}, f"{self._epoch}.{self._step}.{len(values)}")


class LogTail:
    """Text of one part behind (epoch, byte); `attempt` when the next try begins."""

    poll_s: float | None = _LOG_POLL_S

    def __init__(self, job: UUID, epoch: int = 0, offset: int = 0, *, part: int = 0) -> None:
        self._job, self._epoch, self._offset, self._part = job, epoch, offset, part
        self.ended = False

    def has_more(self) -> bool:
        """Whether anything lies behind the position."""
        with sessions() as session:
            newest = self._newest(session)
        file = self._file()
        return self._epoch < newest or (file.is_file() and file.stat().st_size > self._offset)

    def read(self) -> list[Sent]:
        with sessions() as session:
            job, newest = session.get(Job, self._job), self._newest(session)
        final = job is None or job.state in FINAL
        sent = self._text(growing=self._epoch == newest and not final)
        if sent:
            return sent
        if self._epoch < newest:
            self._epoch, self._offset = self._epoch + 1, 0
            return [Sent("attempt", {"epoch": self._epoch}, f"{self._epoch}.0")]
        if final:
            self.ended = True
            return [_end(job, None)]
        return []

    def _file(self) -> Path:
        return log_file(settings().attempt_folder(self._job, self._epoch), self._part)

    def _newest(self, session: Session) -> int:
        newest = tries.newest(session, self._job)
        return newest.epoch if newest else 0

    def _text(self, *, growing: bool) -> list[Sent]:
        if self._epoch == 0:
            return []
        page = logs.read_page(self._file(), self._offset, 1 << 16, growing=growing)
        if page.next_offset == self._offset:
            return []
        data = {"epoch": self._epoch, "offset": self._offset, "text": page.text}
        self._offset = page.next_offset
        return [Sent("log", data, f"{self._epoch}.{self._offset}")]
