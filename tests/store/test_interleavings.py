"""Random orders of everything that scheduler, workers, supervisors, people and faults do keep the invariants."""

import contextlib
from collections import Counter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from cmac_core.events import Metrics
from store import attempts, line, record, scheduler, verbs
from store.attempts import Lease
from store.ends import Reason
from store.errors import AlreadyAdopted, AlreadyRecorded, Fenced, IllegalMove
from store.states import FINAL, JobState
from store.tables import Job, Metric, Part
from tests.store.lab import Lab

DO = ("submit", "child", "pass", "claim", "adopt", "ready", "beat", "save", "finish", "give_up", "release", "cancel")
WORDS = st.lists(st.tuples(st.sampled_from(DO), st.integers(0, 7)), min_size=10, max_size=40)
REASONS = (Reason.ok, Reason.user_error, Reason.worker_lost, Reason.launch_rejected, Reason.drained, Reason.diverged)


class World:
    """A lab, every lease that was ever handed out, and what has been seen of each job."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.session = lab, lab.session
        self.jobs: list[UUID] = []
        self.leases: list[Lease] = []
        self.offsets: dict[Lease, int] = {}
        self.written: Counter[Lease] = Counter()
        self.final: dict[UUID, JobState] = {}
        self.epochs: dict[UUID, int] = {}

    def do(self, word: str, number: int) -> None:
        if word == "submit":
            slots = 1 + number % 2
            self.jobs.append(self.lab.submit("retrieval", resources={"cpu_slots": slots}).id)
        elif word == "child":
            after = {"after": [{"job": str(job)} for job in self.jobs[-1:]]}
            with contextlib.suppress(Exception):
                self.jobs.append(self.lab.submit("pack", queue=after).id)
        elif word == "pass":
            self.schedule()
        elif word == "cancel" and self.jobs:
            with contextlib.suppress(IllegalMove):
                verbs.cancel(self.session, self.jobs[number % len(self.jobs)], self.lab.principal, force=number > 4)
        elif self.leases:
            self.supervise(word, number, self.leases[-1 - number % len(self.leases)])

    def schedule(self) -> None:
        """What run_pass does within its leader's transaction."""
        found = scheduler.look(self.session, line.queued(self.session))
        for placement in found.placements:
            if scheduler._place(self.session, placement):
                attempt = attempts.newest(self.session, placement.job)
                assert attempt is not None
                self.leases.append(Lease(attempt.id, attempt.epoch))
        self.session.execute(update(Job).values(not_before=None))

    def supervise(self, word: str, number: int, lease: Lease) -> None:
        live = attempts.is_live(self.session, lease)
        before = self.row_of(lease)
        try:
            self.act(word, number, lease)
        except (Fenced, AlreadyAdopted):
            self.session.expire_all()
            assert self.row_of(lease) == before  # a write that is refused changes nothing
        except AlreadyRecorded as known:
            assert live
            self.offsets[lease] = known.offset
        else:
            if word in ("adopt", "ready", "beat", "save", "finish"):
                assert live, f"{word} went through with a lease that is over"

    def act(self, word: str, number: int, lease: Lease) -> None:
        session = self.session
        if word == "claim":
            part = session.get_one(Part, (lease.attempt, 0))
            attempts.claim(session, lease.attempt, lease.epoch - (number == 7), part.node_id)
        elif word == "adopt":
            attempts.adopt(session, lease, 1, 1, 1, "b")
        elif word == "ready":
            attempts.ready(session, lease)
        elif word in ("beat", "save"):
            old = self.offsets.get(lease, 0)
            attempts.beat(session, lease, old, old + 10)
            record.record(session, lease, [Metrics(step=old, values={"loss": 1.0})])
            self.written[lease] += 1
            if number != 3:  # else the answer was lost, and the same lines come again
                self.offsets[lease] = old + 10
        elif word == "finish":
            attempts.finish(session, lease, REASONS[number % len(REASONS)], 0)
        elif word == "give_up":
            attempts.give_up(session, lease.attempt, Reason.worker_lost, release=number % 2 == 0)
        elif word == "release":
            self.lab.release(lease.attempt)

    def row_of(self, lease: Lease) -> Any:
        part = self.session.get_one(Part, (lease.attempt, 0), populate_existing=True)
        metrics = select(func.count()).select_from(Metric).where(Metric.epoch == lease.epoch)
        return part.state, part.events_offset, part.heartbeat_at, part.pid, self.session.scalar(metrics)

    def check(self) -> None:
        """QUEUE 13: 1, 2, 3, 5, 7, 9. Broken ones are looked for in the database itself."""
        self.session.flush()
        for rule, query in BROKEN.items():
            assert not self.session.execute(text(query)).all(), rule
        for job, state, epoch in self.session.execute(select(Job.id, Job.state, Job.epoch)):
            assert epoch >= self.epochs.get(job, 0), "the epoch only grows"
            self.epochs[job] = epoch
            assert state is self.final.get(job, state), "final is final"
            if state in FINAL:
                self.final[job] = state
        lines = self.session.scalar(select(func.count()).select_from(Metric)) or 0
        assert lines == sum(self.written.values()), "every line is stored once"

    def drain(self) -> None:
        """Left alone, every job becomes final: nothing is stuck."""
        for _ in range(3 * len(self.jobs) + 1):
            for lease in self.leases:
                self.lab.release(lease.attempt)
                with contextlib.suppress(Fenced):
                    attempts.finish(self.session, lease, Reason.diverged)
            self.leases.clear()
            self.schedule()
        assert {job.state for job in self.session.scalars(select(Job))} <= FINAL
        assert self.lab.leased() == 0


BROKEN = {
    "a device has one live lease": """
        SELECT gpu_id FROM gpu_leases WHERE released_at IS NULL GROUP BY 1 HAVING count(*) > 1""",
    "a job has one live attempt": """
        SELECT job_id FROM attempts WHERE state <> 'exited' GROUP BY 1 HAVING count(*) > 1""",
    "an attempt lives as long as its job is active": """
        SELECT j.id FROM jobs j WHERE (j.state IN ('scheduled', 'running', 'stopping'))
            <> EXISTS (SELECT FROM attempts a WHERE a.job_id = j.id AND a.state <> 'exited')""",
    "parts end with their attempt": """
        SELECT a.id FROM attempts a JOIN attempt_parts p ON p.attempt_id = a.id
         WHERE (a.state = 'exited') <> (p.state IN ('exited', 'lost'))""",
    "history has no gaps": """
        SELECT j.id FROM jobs j JOIN events e ON e.job_id = j.id GROUP BY j.id
        HAVING count(*) <> j.event_seq OR max(e.seq) <> j.event_seq""",
    "who waits for nobody is not blocked": """
        SELECT j.id FROM jobs j WHERE j.state = 'blocked' AND NOT EXISTS (
            SELECT FROM job_edges e JOIN jobs p ON p.id = e.parent
             WHERE e.child = j.id AND p.state NOT IN ('succeeded', 'failed', 'cancelled'))""",
}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=WORDS)
def test_any_order_keeps_the_invariants(lab: Lab, words: list[tuple[str, int]]) -> None:
    with lab.session.begin_nested() as point:
        world = World(lab)
        for word, number in words:
            world.do(word, number)
            world.check()
        world.drain()
        world.check()
        point.rollback()


@pytest.mark.parametrize(
    ("guard", "plant"),
    [
        ("uq_gpu_leases_live", "DROP INDEX uq_gpu_leases_live"),
        ("uq_attempts_live", "DROP INDEX uq_attempts_live"),
    ],
)
def test_the_database_itself_holds_the_first_two(session: Session, lab: Lab, guard: str, plant: str) -> None:
    """Without the index the same wrong writes go in: it is the index that refuses them."""
    lab.place(lab.submit())
    wrong = {
        "uq_gpu_leases_live": "INSERT INTO gpu_leases (id, gpu_id, attempt_id, part, epoch, owner, project) "
        "SELECT gen_random_uuid(), gpu_id, attempt_id, part, epoch, owner, project FROM gpu_leases LIMIT 1",
        "uq_attempts_live": "INSERT INTO attempts (id, job_id, epoch, state, desired) "
        "SELECT gen_random_uuid(), job_id, epoch + 1, state, desired FROM attempts",
    }[guard]
    with pytest.raises(Exception, match=guard), session.begin_nested():
        session.execute(text(wrong))
    session.execute(text(plant))
    session.execute(text(wrong))
