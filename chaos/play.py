"""One run: the schedule played against the service, the invariants checked after each fault and at rest."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from uuid import UUID

from chaos import faults, history, invariants
from chaos.faults import Hit
from chaos.history import History
from chaos.invariants import Watch, broken
from chaos.people import People
from chaos.program import CURVE, undisturbed
from chaos.schedule import Fault, Schedule
from chaos.service import Service, describe
from client.api import Client
from cmac_core.events import Metrics, read
from store import database, verbs
from store.keys import SYSTEM
from store.settings import settings
from store.states import FINAL, JobState
from store.tables import Job

PARTS = ("api", "control", "node loop", "consumer", "pool", "worker", "machine", "postgres", "redis")
# Under the default lease times, as all times of the service are: seconds
SETTLE = 600.0  # for all jobs to end, and then as long for the service to be whole
GONE = 60.0  # for processes of attempts that are over to be gone

Curve = Mapping[tuple[str, int], float]


@dataclass
class Played:
    """What became of one run."""

    schedule: Schedule
    hits: list[Hit] = field(default_factory=list)
    missed: list[Fault] = field(default_factory=list)
    back: list[tuple[str, float]] = field(default_factory=list)  # fault, s until what it hit was back
    states: dict[str, int] = field(default_factory=dict)
    lost_steps: int = 0
    attempts: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)


class Play:
    """`real`: the curve of an undisturbed training by the real core. `settle`: how long jobs may take to end."""

    def __init__(
        self, service: Service, client: Client, schedule: Schedule, real: Curve, settle: float = SETTLE
    ) -> None:
        self.service, self.schedule, self.real = service, schedule, real
        self.began = time.monotonic()
        self.people = People(client, schedule, self.began)
        self.played = Played(schedule)
        self.watch = Watch()
        self._lock = threading.Lock()
        self._settle_s, self._gone_s = settings().times.scaled(settle), settings().times.scaled(GONE)

    def run(self) -> Played:
        """Play it, wait until all is at rest, check."""
        work = [partial(self.people.ask, place) for place in range(len(self.schedule.requests))]
        work += [partial(self._strike, fault) for fault in self.schedule.faults]
        threads = [threading.Thread(target=self._try, args=(one,)) for one in work]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.service.mend()
        self._settle()
        self._judge()
        self.played.seconds = time.monotonic() - self.began
        return self.played

    def _try(self, work: Callable[[], None]) -> None:
        """What goes wrong in here is told like the rest: a run in which half of it did not happen proves nothing."""
        try:
            work()
        except Exception as error:
            self._blame([f"the_run_itself: {type(error).__name__}: {error}"])

    def _strike(self, fault: Fault) -> None:
        time.sleep(max(0.0, self.began + fault.at - time.monotonic()))
        hit = faults.strike(self.service, fault)
        if hit is None:
            self.played.missed.append(fault)
            return
        self.played.hits.append(hit)
        self.check()
        part = fault.name.rpartition(" ")[0]
        if (
            not hit.attempts
            and part in PARTS
            and self.service.until(lambda: self.service.is_back(part), self._settle_s)
        ):
            self.played.back.append((fault.name, time.time() - hit.over))

    def check(self) -> list[Job]:
        """What must hold at every moment; the jobs. While the database is away there are none, and the next look
        sees what this one did not."""
        with self._lock:
            try:
                found = history.read(self.schedule.prefix)
            except Exception as error:
                if database.is_away(error):
                    return []
                raise
            self._blame([*broken(invariants.ALWAYS, found), *self.watch.look(found.jobs)])
            return found.jobs

    def _blame(self, wrong: list[str]) -> None:
        self.played.violations += [text for text in wrong if text not in self.played.violations]

    def _settle(self) -> None:
        """Until every job is final and the service whole; every look is a check."""
        if not self.service.until(self._is_final, self._settle_s):
            self._blame(["jobs_are_final: not all within the time"])
        if not self.service.until(self.service.is_whole, self._settle_s):
            self._blame(["the_service_comes_back: it is not whole"])
        if not self.service.until(lambda: not self._leftovers(), self._gone_s):
            self._blame([f"nothing_survives_its_attempt: {text}" for text in self._leftovers()])

    def _is_final(self) -> bool:
        jobs = self.check()
        return len(jobs) == len(self.schedule.requests) and all(job.state in FINAL for job in jobs)

    def _leftovers(self) -> list[str]:
        live = {one.id for one in history.read(self.schedule.prefix).attempts if one.exited_at is None}
        return [
            f"process {pid} of attempt {mark.attempt}, epoch {mark.epoch}"
            for pid, mark in self.service.marks().items()
            if mark.attempt not in live
        ]

    def _judge(self) -> None:
        found = history.read(self.schedule.prefix)
        wrong = [*broken(invariants.AT_REST, found), *self.watch.look(found.jobs)]
        names = [self.people.name_of(place) for place in range(len(self.schedule.requests))]
        wrong += [f"submitted: {text}" for text in invariants.jobs_are_those_submitted(found, names)]
        wrong += [f"lines: {text}" for text in invariants.every_line_is_stored_once(found, self.service.folder)]
        wrong += [f"ends: {text}" for text in self._wrong_ends(found)]
        wrong += [f"unanswered: {text}" for text in self.people.unanswered]
        wrong += [f"result: {text}" for text in self._wrong_results(found)]
        self._blame(wrong)
        self._measure(found)
        if self.played.violations:
            self._keep_evidence(found)
            self._clear(found)

    def _jobs(self, found: History) -> Iterator[tuple[int, Job]]:
        by_name = {job.name: job for job in found.jobs}
        for place in range(len(self.schedule.requests)):
            if (job := by_name.get(self.people.name_of(place))) is not None:
                yield place, job

    def _wrong_ends(self, found: History) -> Iterator[str]:
        """Jobs that are final in another state than their request allows."""
        jobs = dict(self._jobs(found))
        for place, job in jobs.items():
            request = self.schedule.requests[place]
            allowed = {JobState.succeeded}
            if request.course is not None and request.course.ail == "bug":
                allowed = {JobState.failed}
            if request.course is not None and request.course.ail == "user_error" and not _saved(found, job):
                allowed |= {JobState.failed}  # it says so before its first new checkpoint: it is not run again
            if request.wish == "cancel":
                allowed |= {JobState.cancelled}
            if request.edge == "afterok" and jobs[place - 1].state is not JobState.succeeded:
                allowed = {JobState.cancelled}
            if job.state not in allowed:
                yield f"job {job.id} ({job.name}) is {job.state}, not {sorted(allowed)}: {job.reason} {job.detail}"

    def _wrong_results(self, found: History) -> Iterator[str]:
        curves: dict[UUID, Curve] = {}
        results: dict[UUID, Mapping[str, float]] = {}
        for place, job in self._jobs(found):
            if job.state is not JobState.succeeded:
                continue
            course = self.schedule.requests[place].course
            if course is None:
                curves[job.id] = self.real
            else:
                losses = undisturbed(course).losses
                curves[job.id] = {(CURVE, step): loss for step, loss in enumerate(losses, start=1)}
                results[job.id] = {"accuracy": losses[-1]}
        yield from invariants.curves_are_whole(found, curves)
        yield from invariants.results_are_right(found, results)

    def _measure(self, found: History) -> None:
        """Steps that were taken again, and how long attempts that were hit took to be running again."""
        played = self.played
        for state in (job.state for job in found.jobs):
            played.states[str(state)] = played.states.get(str(state), 0) + 1
        played.attempts = len(found.attempts)
        for attempt in found.attempts:
            if attempt.running_at is None and not any(attempt.id in hit.attempts for hit in played.hits):
                continue
            again = found.next_to_run(attempt)
            if again is None or again.running_at is None:
                continue
            lines, _ = read(self.service.folder(attempt.job_id, attempt.epoch))
            reached = max([line.step for line in lines if isinstance(line, Metrics)], default=attempt.resume_step or 0)
            played.lost_steps += max(0, reached - (again.resume_step or 0))
            for hit in played.hits:
                if attempt.id in hit.attempts and attempt.exited_at and attempt.exited_at.timestamp() >= hit.at:
                    played.back.append((hit.fault.name, again.running_at.timestamp() - hit.at))

    def _keep_evidence(self, found: History) -> None:
        schedule = [str(self.schedule), *(str(hit) for hit in self.played.hits)]
        rows = [describe(row) for table in vars(found).values() for row in table]
        self.service.note(f"seed-{self.schedule.seed}.txt", "\n".join([*self.played.violations, *schedule, *rows]))

    def _clear(self, found: History) -> None:
        """What is stuck must not stand in the next run's way."""
        for job in found.jobs:
            if job.state not in FINAL:
                forced: Callable[..., Job] = verbs.cancel
                database.transact(lambda session: forced(session, job.id, SYSTEM, force=True))  # noqa: B023


def _saved(found: History, job: Job) -> bool:
    """Whether the job's newest attempt has saved anything."""
    return any((row.job_id, row.epoch) == (job.id, job.epoch) for row in found.checkpoints)
