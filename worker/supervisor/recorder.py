"""The tick: new event lines to the database, its wishes back, in one short transaction that begins with the fence."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from sqlalchemy.orm import Session

from cmac_core.events import AnyEvent, Metrics, Progress, Warned
from store import attempts, fence
from store.errors import AlreadyRecorded
from store.fence import Lease, Orders
from store.states import Desired, StopFor
from worker.ingest import ingest
from worker.patience import insist, look, reach
from worker.supervisor.lines import PORTION, Portion, read_portion, size
from worker.supervisor.supervise import Answer

Run = Callable[[Callable[[Session], Orders]], Orders]  # how a transaction is run: once, or until it succeeds

WATCHED_S = 60.0
PATIENT = (Progress, Metrics, Warned)  # these may wait for the next beat; all others are told at once


@dataclass(frozen=True)
class Beat:
    """Seconds between what is told and asked."""

    watched: float = 2.0  # of both in the first minute, when somebody looks on
    ask: float = 3.0  # for wishes
    tell: float = 5.0  # what has time: curves, progress, warnings
    heartbeat: float = 10.0  # even when there is nothing to tell
    sample: float = 15.0  # of the machine's curves


@dataclass
class Recorder:
    """One supervisor's line to the database. `offset`: up to where events.jsonl is stored."""

    lease: Lease
    folder: Path
    offset: int
    grace: float
    beat: Beat = Beat()
    extra: list[AnyEvent] = field(default_factory=list)  # the supervisor's own, told with the next beat
    step: int = 0  # that the run has reached
    progress: Progress | None = None  # the newest that it told
    out_of_time: bool = False  # its walltime is used up, but for the time to save in
    _passed_on: bool = False  # the wish to stop, to the run; the database knows
    _seen: int = -1  # size of the file at the last look
    _portion: Portion = field(init=False)  # read, and not told yet
    _began: float = field(default_factory=time.monotonic)
    _asked: float = -inf
    _away: bool = False  # at the last try
    _beaten: float = -inf

    def __post_init__(self) -> None:
        self._portion = Portion([], self.offset)

    def __call__(self) -> Answer | None:
        """Tell and ask what is due. Raises Unreachable, Fenced."""
        now, portion = time.monotonic(), self._look()
        urgent = any(not isinstance(event, PATIENT) for event in portion.events)
        # A database that is away is not asked more often because there is more to tell: each try may take seconds.
        if now - self._asked < self._soon(now, self.beat.ask) and (self._away or not urgent):
            return None
        self._asked, self._away = now, True
        if urgent or now - self._beaten >= self._pause(now, bool(portion.events or self.extra)):
            answer = self._answer(self._tell(portion), confirmed=True)
            self._beaten = now
        else:
            answer = self._answer(look(lambda session: fence.orders(session, self.lease)), confirmed=False)
        self._away = False
        return answer

    def _pause(self, now: float, news: bool) -> float:
        """Seconds from one beat to the next."""
        if not news:
            return self.beat.heartbeat
        return self._soon(now, self.beat.tell)

    def _soon(self, now: float, usual: float) -> float:
        return min(self.beat.watched, usual) if now - self._began < WATCHED_S else usual

    def finish(self, close: Callable[[Session, StopFor | None], object]) -> None:
        """The last lines, then the end, tried for as long as the database is away. Raises Fenced.

        `close` gets what the attempt was asked to leave for; its transaction began with the fence.
        """
        while (portion := self._read(self.offset)).offset > self.offset or self.extra:
            self._tell(portion, insist)

        def last(session: Session) -> None:
            orders = fence.beat(session, self.lease, self.offset, self.offset)
            close(session, orders.stop_for)

        insist(last)

    def _look(self) -> Portion:
        """What is not told yet. Each line is read once, when the file has grown; no more than fits one transaction."""
        grown = (length := size(self.folder)) != self._seen
        if grown and self._portion.offset - self.offset < PORTION:
            new = self._read(self._portion.offset)
            self._seen, self._portion = length, Portion([*self._portion.events, *new.events], new.offset)
            reached = [event.step for event in new.events if isinstance(event, Progress | Metrics)]
            self.step = max([self.step, *reached])
            told = [event for event in new.events if isinstance(event, Progress)]
            self.progress = told[-1] if told else self.progress
        return self._portion

    def _read(self, offset: int) -> Portion:
        """Part 0 tells what the run says; parts on other machines share its folder and tell of themselves alone."""
        return read_portion(self.folder, offset) if self.lease.part == 0 else Portion([], offset)

    def _tell(self, portion: Portion, run: Run = reach) -> Orders:
        extra = list(self.extra)

        def write(session: Session) -> Orders:
            orders = fence.beat(session, self.lease, self.offset, portion.offset)
            ingest(session, self.lease, [*portion.events, *extra])
            return orders

        try:
            orders = run(write)
        except AlreadyRecorded as recorded:  # a commit whose answer was lost
            self._forget(recorded.offset)
            return run(lambda session: fence.orders(session, self.lease))
        self._forget(portion.offset)
        del self.extra[: len(extra)]
        return orders

    def _forget(self, offset: int) -> None:
        self.offset, self._seen, self._portion = offset, -1, Portion([], offset)

    def _answer(self, orders: Orders, *, confirmed: bool) -> Answer:
        stop = orders.desired == Desired.stop
        if stop and not self._passed_on:
            reach(lambda session: attempts.stopping(session, self.lease))
            self._passed_on = True
        grace = self.grace if orders.stop_in_s is None else orders.stop_in_s
        if orders.left_s is not None and orders.left_s <= self.grace:
            self.out_of_time = True
            return Answer(True, min(grace, orders.left_s), confirmed)
        return Answer(stop, grace, confirmed)
