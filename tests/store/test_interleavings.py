"""Random orders of everything that scheduler, workers, supervisors, people and faults do keep the invariants."""

import contextlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import func, select, text, update
from sqlalchemy.orm import Session

from chaos import history, invariants
from cmac_core.events import Metrics
from store import attempts, fence, jobs, line, record, scheduler, tries, verbs
from store.ends import Reason
from store.errors import AlreadyAdopted, AlreadyExists, AlreadyRecorded, Fenced, IllegalMove, SpecProblem
from store.fence import Lease
from store.states import FINAL, StopFor
from store.tables import Job, Metric, Part
from tests.store.lab import Lab

REASONS = (Reason.ok, Reason.user_error, Reason.worker_lost, Reason.launch_rejected, Reason.drained, Reason.diverged)
VERBS = (verbs.pause, verbs.resume, verbs.hold, verbs.release)
WRITES = ("adopt", "ready", "beat", "save", "finish")
REFUSED = (IllegalMove, AlreadyExists, SpecProblem)  # what people are told in words; it changes nothing

PICK = st.integers(0, 7)  # which of the jobs, or of the leases that were ever handed out: late ones go on reporting


class Queue(RuleBasedStateMachine):
    """One machine with two slots. Whatever is done, in whatever order, QUEUE 13 holds after each step."""

    lab: ClassVar[Lab]

    @initialize()
    def begin(self) -> None:
        self.session = self.lab.session
        self.point = self.session.begin_nested()
        self.jobs: list[UUID] = []
        self.leases: list[Lease] = []
        self.offsets: dict[Lease, int] = {}
        self.written: Counter[Lease] = Counter()
        self.watch = invariants.Watch()

    @rule(kind=st.sampled_from(["pretrain", "retrieval"]), slots=st.integers(1, 2), held=st.booleans())
    def submit(self, kind: str, slots: int, held: bool) -> None:
        queue = {"hold": held, "max_restarts": 1}
        self.enter(self.lab.submit(kind, resources={"cpu_slots": slots}, queue=queue))

    @rule(pick=PICK, edge=st.sampled_from(["afterok", "afterany"]))
    def submit_child(self, pick: int, edge: str) -> None:
        for parent in self.job(pick):
            after = {"after": [{"job": str(parent), "kind": edge}]}
            with self.told(*REFUSED):
                self.enter(self.lab.submit("pack", queue=after))

    @rule(pick=PICK, fresh=st.booleans())
    def retry(self, pick: int, fresh: bool) -> None:
        for job in self.job(pick):
            with self.told(*REFUSED):
                self.enter(jobs.retry(self.session, job, self.lab.principal, fresh=fresh))

    @rule(pick=PICK, verb=st.sampled_from(VERBS))
    def ask(self, pick: int, verb: Any) -> None:
        for job in self.job(pick):
            with self.told(*REFUSED):
                verb(self.session, job, self.lab.principal)

    @rule(pick=PICK, force=st.booleans())
    def cancel(self, pick: int, force: bool) -> None:
        for job in self.job(pick):
            with self.told(*REFUSED):
                verbs.cancel(self.session, job, self.lab.principal, force=force)

    @rule(pick=PICK, stop_for=st.sampled_from([StopFor.preempt, StopFor.drain]))
    def vacate(self, pick: int, stop_for: StopFor) -> None:
        for job in self.job(pick):
            verbs.vacate(self.session, job, stop_for, "somebody else comes first")

    @rule()
    def schedule(self) -> None:
        """What run_pass does within its leader's transaction; nobody waits for a back-off."""
        self.session.execute(update(Job).values(not_before=None))
        for placement in scheduler.look(self.session, line.queued(self.session)).placements:
            if scheduler._place(self.session, placement):
                attempt = tries.newest(self.session, placement.job)
                assert attempt is not None
                self.leases.append(Lease(attempt.id, attempt.epoch))

    @rule(pick=PICK, forged=st.booleans())
    def claim(self, pick: int, forged: bool) -> None:
        for lease in self.lease(pick):
            node = self.session.get_one(Part, (lease.attempt, 0)).node_id
            claimed = attempts.claim(self.session, lease.attempt, lease.epoch - forged, node)
            assert not (forged and claimed)

    @rule(pick=PICK)
    def start(self, pick: int) -> None:
        """Claimed, adopted and past the barrier, if it is as new as that: so that most sequences get somewhere."""
        self.claim(pick, False)
        self.report(pick, "adopt")
        self.report(pick, "ready")

    @rule(pick=PICK, word=st.sampled_from(WRITES), reason=st.sampled_from(REASONS), lost=st.booleans())
    def report(self, pick: int, word: str, reason: Reason = Reason.ok, lost: bool = False) -> None:
        """A supervisor's write: it goes through while its lease lives, and otherwise changes nothing."""
        for lease in self.lease(pick):
            live, before = fence.is_live(self.session, lease), self.row_of(lease)
            if word == "save" and self.part_of(lease).pid is None:
                continue  # nobody has adopted it: it has no run that could save
            try:
                with self.session.begin_nested():
                    self.act(word, lease, reason, lost)
            except (Fenced, AlreadyAdopted):
                assert self.row_of(lease) == before
            except AlreadyRecorded as known:
                assert live
                self.offsets[lease] = known.offset
            else:
                assert live, f"{word} went through with a lease that is over"

    def act(self, word: str, lease: Lease, reason: Reason, lost: bool) -> None:
        session = self.session
        if word == "adopt":
            attempts.adopt(session, lease, 1, 1, 1, "b")
        elif word == "ready":
            attempts.ready(session, lease)
        elif word in ("beat", "save"):
            old = self.offsets.get(lease, 0)
            fence.beat(session, lease, old, old + 10)
            record.record(session, lease, [Metrics(step=old, values={"loss": 1.0})])
            if word == "save":
                job = session.scalars(
                    select(Job).join(attempts.Attempt).where(attempts.Attempt.id == lease.attempt)
                ).one()
                record.record(session, lease, [self.lab.saved(job, lease, step=old + 1)])
            self.written[lease] += 1
            if not lost:  # else the answer was lost, and the same lines come again
                self.offsets[lease] = old + 10
        elif word == "finish":
            attempts.finish(session, lease, reason, 0)

    @rule(pick=PICK, release=st.booleans())
    def give_up(self, pick: int, release: bool) -> None:
        for lease in self.lease(pick):
            attempts.give_up(self.session, lease.attempt, Reason.worker_lost, release=release)

    @rule(pick=PICK)
    def clear(self, pick: int) -> None:
        for lease in self.lease(pick):
            self.lab.release(lease.attempt)

    def enter(self, job: Job) -> None:
        """Each is older than the next: one transaction has one time, and the order of equals is no part of a story."""
        job.submitted_at = func.now() - timedelta(seconds=1000 - len(self.jobs))
        self.session.flush()
        self.jobs.append(job.id)

    def job(self, pick: int) -> list[UUID]:
        """One of the newest, none where there is none."""
        return [self.jobs[-1 - pick % len(self.jobs)]] if self.jobs else []

    def lease(self, pick: int) -> list[Lease]:
        return [self.leases[-1 - pick % len(self.leases)]] if self.leases else []

    @contextmanager
    def told(self, *refused: type[Exception]) -> Iterator[None]:
        """A request of its own: refused, it leaves nothing."""
        with contextlib.suppress(*refused), self.session.begin_nested():
            yield

    def part_of(self, lease: Lease) -> Part:
        return self.session.get_one(Part, (lease.attempt, 0), populate_existing=True)

    def row_of(self, lease: Lease) -> Any:
        part = self.part_of(lease)
        metrics = select(func.count()).select_from(Metric).where(Metric.epoch == lease.epoch)
        return part.state, part.events_offset, part.heartbeat_at, part.pid, self.session.scalar(metrics)

    @invariant()
    def holds(self) -> None:
        """QUEUE 13: 1, 2, 3, 5, 7, 9. Broken ones are looked for in the database itself."""
        self.session.flush()
        self.session.expire_all()
        found = history.seen(self.session)
        assert [*invariants.broken(invariants.ALWAYS, found), *self.watch.look(found.jobs)] == []
        assert not self.session.execute(text(STUCK)).all(), "who waits for nobody is not blocked"
        assert len(found.metrics) == sum(self.written.values()), "every line is stored once"

    def teardown(self) -> None:
        try:
            self.drain()
        finally:
            self.point.rollback()

    def drain(self) -> None:
        """Left alone, but for what people hold and have paused, every job becomes final: nothing is stuck."""
        for job in self.session.scalars(select(Job)).all():
            for verb in (verbs.resume, verbs.release):
                with self.told(*REFUSED):
                    verb(self.session, job.id, self.lab.principal)
        for _ in range(3 * len(self.session.scalars(select(Job.id)).all()) + 1):
            self.schedule()
            for attempt in self.session.scalars(select(attempts.Attempt)).all():
                self.lab.release(attempt.id)
                with contextlib.suppress(Fenced):
                    attempts.finish(self.session, Lease(attempt.id, attempt.epoch), Reason.diverged)
        assert {job.state for job in self.session.scalars(select(Job))} <= FINAL
        assert self.lab.leased() == 0
        self.holds()


STUCK = """
    SELECT j.id FROM jobs j WHERE j.state = 'blocked' AND NOT EXISTS (
        SELECT FROM job_edges e JOIN jobs p ON p.id = e.parent
         WHERE e.child = j.id AND p.state NOT IN ('succeeded', 'failed', 'cancelled'))"""


@pytest.mark.system
def test_any_order_keeps_the_invariants(lab: Lab) -> None:
    machine = type("Queue", (Queue,), {"lab": lab})
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    run_state_machine_as_test(
        machine, settings=settings(max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=checks)
    )


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
