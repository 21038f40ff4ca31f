"""A long line is planned and read fast: with the decisions and the words of a plan that considers every job anew."""

import importlib
import random
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event, func, update

from store import database, facts, line, scheduler, verbs
from store.policy import ANYWHERE, DAY, HOUR, Free, Limit, Line, Pending, Placement, Plan, Running, Wants, plan
from store.policy.order import HALVED_S
from store.policy.values import EPOCH, FREE_OF_LIMITS
from store.policy.yard import Reservation, Yard
from store.states import DeviceKind, JobState
from store.tables import Job
from tests.store.lab import Lab


class PlainLine(Line):
    """The order, by looking at all that wait for each next one."""

    def __iter__(self) -> Iterator[Pending]:
        for tier in sorted(self._tiers):
            jobs = list(self._tiers[tier])
            oldest = {job.project: min(one.submitted_s for one in jobs if one.project == job.project) for job in jobs}
            while jobs:
                jobs.remove(first := min(jobs, key=lambda job: self._key(job, oldest[job.project])))
                yield first

    def _key(self, job: Pending, oldest_s: float) -> tuple[float, float, float, uuid.UUID]:
        shares = [
            self._limits.get(name, FREE_OF_LIMITS).share for name in (f"project:{job.project}", f"user:{job.owner}")
        ]
        of_project = self._projects.get(job.project, 0.0) * 0.5 ** ((self._now_s - oldest_s) / HALVED_S) / shares[0]
        return (
            of_project,
            self.used(job) / shares[1] * 0.5 ** ((self._now_s - job.submitted_s) / HALVED_S),
            job.submitted_s,
            job.id,
        )


class PlainYard(Yard):
    """Remembers nothing of jobs that it refused."""

    def stuck_behind(self, job: Pending) -> Reservation | None:
        return None

    def place(self, job: Pending) -> Placement | None:
        self._refused.clear()
        self._most.clear()
        return super().place(job)

    def ahead(self, job: Pending) -> Reservation | None:
        found = super().ahead(job)
        if found is not None:
            found.told.clear()
        return found


@pytest.fixture(scope="module")
def plain() -> Callable[..., Plan]:
    """The plan of a line and yards that have no memory."""

    def planned(*values: object) -> Plan:
        with pytest.MonkeyPatch.context() as patch:
            module = importlib.import_module("store.policy.plan")
            patch.setattr(module, "Line", PlainLine)
            patch.setattr(module, "Yard", PlainYard)
            return plan(*values)  # type: ignore[arg-type]

    return planned


Case = tuple[list[Pending], list[Free], list[Running], dict[tuple[str, str], float], dict[str, Limit]]


def case(seed: int, jobs: int, nodes: int) -> Case:
    """A lab and what waits for it; few sizes and owners, so that many are alike."""
    draw = random.Random(seed)
    one_of, ids = draw.choice, lambda: uuid.UUID(int=draw.getrandbits(128))
    wants = (ANYWHERE, ANYWHERE, ANYWHERE, Wants("A100"), Wants(None, (("rack", "1"),)))
    people = [(project, owner) for project in "pq" for owner in "abc"]
    offers, running = [], []
    for index in range(nodes):
        node, kind, total = ids(), one_of([DeviceKind.gpu, DeviceKind.gpu, DeviceKind.cpu]), one_of([2, 4, 8])
        free = draw.randint(0, total) if draw.random() < 0.5 else 0
        model, labels = one_of(["A100", "H200"]), {"rack": one_of("12")}
        offers.append(
            Free(node, f"n{index}", kind, tuple(ids() for _ in range(free)), total, model=model, labels=labels)
        )
        for _ in range(total - free):
            project, owner = one_of(people)
            left_s, ran_s = one_of([HOUR, 2 * HOUR, DAY]), one_of([60.0, HOUR])
            guessed, willing = draw.random() < 0.2, draw.random() < 0.1
            running.append(
                Running(ids(), node, kind, 1, left_s, guessed, project, owner, one_of([1, 2, 3]), willing, ran_s=ran_s)
            )
    waiting = []
    for _ in range(jobs):
        project, owner = one_of(people)
        split = one_of([1, 1, 1, 2])
        kind, devices = one_of([DeviceKind.gpu, DeviceKind.gpu, DeviceKind.cpu]), split * one_of([1, 1, 2, 4, 16])
        until_s, text = one_of([(0.0, ""), (0.0, ""), (0.0, ""), (5.0, "restart 1")])
        submitted_s, runtime_s = one_of([-draw.random() * 8 * DAY, -30.0]), one_of([600.0, HOUR, 3 * HOUR, DAY])
        waiting.append(
            Pending(
                ids(), kind, devices, until_s, text, one_of([0, 1, 2, 2, 3]), project, owner, submitted_s, runtime_s,
                nodes=split, wants=one_of(wants),
            )
        )  # fmt: skip
    usage = {who: draw.random() * 1000 * HOUR for who in people if draw.random() < 0.7}
    limits = {"user:a": Limit(gpus=draw.randint(1, 12), share=2.0), "project:q": Limit(running=draw.randint(1, 9))}
    return waiting, offers, running, usage, limits if draw.random() < 0.4 else {}


@settings(deadline=None, max_examples=150)
@given(st.integers(0, 2**32), st.integers(0, 70), st.integers(1, 6))
def test_what_is_remembered_within_a_plan_changes_nothing(
    plain: Callable[..., Plan], seed: int, jobs: int, nodes: int
) -> None:
    waiting, offers, running, usage, limits = case(seed, jobs, nodes)
    values = (waiting, offers, running, usage, EPOCH, limits)
    assert plan(*values) == plain(*values)


def test_nor_does_it_in_a_long_line(plain: Callable[..., Plan]) -> None:
    for seed in range(3):
        waiting, offers, running, usage, limits = case(seed, 400, 12)
        values = (waiting, offers, running, usage, EPOCH, limits)
        made = plan(*values)
        assert made == plain(*values)
        assert list(made.waiting) == list(plain(*values).waiting)  # told in the order of the line
        assert any("more than 50 jobs ahead" in why.text for why in made.waiting.values())


def test_who_is_placed_on_what_is_kept_changes_what_those_behind_are_told(plain: Callable[..., Plan]) -> None:
    node = Free(uuid.UUID(int=1), "a", DeviceKind.gpu, tuple(uuid.UUID(int=10 + i) for i in range(3)), 4)
    running = [Running(uuid.UUID(int=2), node.node, DeviceKind.gpu, 1, HOUR)]
    sizes = [(4, DAY), *[(1, DAY)] * 30, (1, 600.0), *[(1, DAY)] * 9]
    waiting = [
        Pending(uuid.UUID(int=100 + i), DeviceKind.gpu, devices, submitted_s=i - 100.0, runtime_s=runtime_s)
        for i, (devices, runtime_s) in enumerate(sizes)
    ]
    made = plan(waiting, [node], running)
    assert made == plain(waiting, [node], running)
    assert [made.waiting[waiting[i].id].text[:6] for i in (30, -1)] == ["3 GPUs", "2 GPUs"]


def test_what_is_remembered_of_rows_is_what_they_say(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """After each change the line is as one that is read for the first time; twice in a transaction, and undone, too."""
    made = [lab.submit("retrieval") for _ in range(4)]
    ana = lab.someone("ana")

    def change(**values: object) -> None:
        lab.session.execute(update(Job).where(Job.id == made[0].id).values(**values))

    def undone() -> None:
        with lab.session.begin_nested() as point:
            change(priority=0)
            line.queued(lab.session)
            point.rollback()

    changes: list[Callable[[], object]] = [
        lambda: verbs.change(lab.session, made[1].id, lab.principal, {"priority": "high"}),
        lambda: verbs.hold(lab.session, made[2].id, lab.principal),
        lambda: lab.submit("retrieval", by=ana, resources={"cpu_slots": 2}, queue={"walltime_s": 7200}),
        lambda: verbs.release(lab.session, made[2].id, lab.principal),
        lambda: verbs.cancel(lab.session, made[3].id, lab.principal),
        lambda: change(not_before=func.now() + timedelta(minutes=5), user_restarts=1),
        lambda: change(not_before=None),
        lambda: change(gpu_model="H200", node_labels={"rack": "1"}),
        lambda: change(waiting={"code": "priority", "text": "2 jobs ahead", "expected_start": "2026-11-26T12:00:00Z"}),
        undone,
    ]
    for one in changes:
        one()
        remembered = line.queued(lab.session)
        monkeypatch.setattr(facts, "_last", facts.NOTHING)
        assert line.queued(lab.session) == remembered
    assert [len(line.queued(lab.session).pending), remembered.facts[made[1].id].pending.tier] == [4, 1]


def test_a_row_that_has_not_changed_is_read_once(lab: Lab) -> None:
    made = [lab.submit("retrieval") for _ in range(3)]
    read: list[int] = []

    def saw(_: object, __: object, statement: str, values: dict[str, list[str]], *___: object) -> None:
        if "node_labels, waiting" in statement:
            read.append(len(values["ids"]))

    event.listen(database.engine(), "before_cursor_execute", saw)
    try:
        for _ in range(2):
            line.queued(lab.session)
        verbs.change(lab.session, made[1].id, lab.principal, {"priority": "high"})
        line.queued(lab.session)
    finally:
        event.remove(database.engine(), "before_cursor_execute", saw)
    assert read == [3, 1]


def test_of_many_whose_reason_changes_the_first_are_told_at_once_and_all_in_some_passes(
    open_lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "MOST_TOLD", 2)
    monkeypatch.setattr(scheduler, "FEW_TOLD", 2)
    lab = open_lab
    holder = lab.submit("retrieval", resources={"cpu_slots": 2})
    made = [lab.submit("retrieval", resources={"cpu_slots": 2}) for _ in range(9)]
    for place, job in enumerate([holder, *made]):
        job.submitted_at = func.now() + timedelta(microseconds=place)
    lab.session.commit()

    def texts() -> list[str]:
        lab.session.rollback()
        return [(lab.again(job).waiting or {}).get("text", "") for job in made]

    assert scheduler.run_pass("me")[:3] == (True, 1, 9)
    assert all(str(made[0].id) in text for text in texts()[1:]), "nobody is without a word"

    def told_after_the_first_left(gone: int) -> set[int]:
        """Who is told behind the two that are first then."""
        if lab.again(made[gone]).state is JobState.queued:
            verbs.cancel(lab.session, made[gone].id, lab.principal)
        lab.session.commit()
        scheduler.run_pass("me")
        assert texts()[gone + 1].startswith("needs 2 CPU slots"), "the first in line is told at once"
        news = str(made[gone + 1].id)
        assert news in texts()[gone + 2]
        return {place for place, text in enumerate(texts()) if place > gone + 2 and news in text}

    first, second = told_after_the_first_left(0), told_after_the_first_left(1)
    assert (len(first), len(second)) == (2, 2)
    assert not first & second, "those with the oldest words come next"
    assert len(told_after_the_first_left(1)) == 5, "and by then everybody was told"
