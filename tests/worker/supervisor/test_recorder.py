"""The tick: what is told when, and each line once."""

import os
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from cmac_core.events import Metrics, Progress, Saved
from store import attempts, database, verbs
from store.keys import SYSTEM
from store.states import PartState
from store.tables import Checkpoint, Metric
from worker.processes import identify
from worker.supervisor import recorder
from worker.supervisor.recorder import Beat, Recorder

if TYPE_CHECKING:
    from conftest import Stage


class Run:
    """A part that this very process has adopted, and the lines of its run."""

    def __init__(self, stage: "Stage", beat: Beat) -> None:
        self.stage, self.job = stage, stage.submit()
        self.lease = stage.place(self.job)
        stage.claim(self.lease)
        me = identify(os.getpid())
        self.work = database.transact(lambda session: attempts.adopt(session, self.lease, *me))
        database.transact(lambda session: attempts.ready(session, self.lease))
        self.work.folder.mkdir(parents=True)
        self.recorder = Recorder(self.lease, self.work.folder, 0, grace=60, beat=beat)

    def say(self, *events: Metrics | Progress | Saved) -> None:
        with (self.work.folder / "events.jsonl").open("a") as file:
            file.writelines(event.model_dump_json() + "\n" for event in events)

    def count(self, table: type[Metric] | type[Checkpoint]) -> int:
        query = select(func.count()).select_from(table).where(table.job_id == self.job)
        return self.stage.read(lambda session: session.scalar(query)) or 0


def loss(step: int) -> Metrics:
    return Metrics(step=step, values={"loss": 1.0})


def test_a_commit_whose_answer_was_lost_is_not_made_twice(stage: "Stage") -> None:
    run = Run(stage, Beat(watched=0, ask=0, heartbeat=0))
    run.say(loss(1), loss(2))
    assert run.recorder()
    run.recorder.offset = 0  # as if the answer had never come
    run.say(loss(3))
    assert run.recorder()
    assert run.recorder()
    assert run.count(Metric) == 3
    assert run.recorder.step == 3


def test_a_checkpoint_is_told_at_once_and_curves_with_the_next_beat(stage: "Stage") -> None:
    run = Run(stage, Beat(ask=60, heartbeat=60))
    assert run.recorder()
    run.say(loss(1))
    assert run.recorder() is None
    assert run.count(Metric) == 0
    run.say(Saved(step=1, train_epoch=0, path="x.pt", sha256="0" * 64, bytes=1))
    assert run.recorder()
    assert (run.count(Metric), run.count(Checkpoint)) == (1, 1)


def test_without_news_only_a_due_heartbeat_writes(stage: "Stage") -> None:
    run = Run(stage, Beat(watched=0, ask=0, heartbeat=60))
    first, second = run.recorder(), run.recorder()
    assert first is not None
    assert second is not None
    assert (first.confirmed, second.confirmed) == (True, False)


def test_curves_are_told_soon_in_the_first_minute_and_seldom_later(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(stage, Beat(watched=0, ask=0, tell=60, heartbeat=60))
    for step in (1, 2):
        run.say(loss(step))
        assert run.recorder()
        assert run.count(Metric) == step
    monkeypatch.setattr(recorder, "WATCHED_S", 0.0)
    run.say(loss(3))
    answer = run.recorder()
    assert answer is not None
    assert not answer.confirmed
    assert run.count(Metric) == 2


def test_wishes_are_asked_for_soon_in_the_first_minute_and_less_often_later(
    stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(stage, Beat(watched=0, ask=60, heartbeat=60))
    assert run.recorder()
    assert run.recorder()
    monkeypatch.setattr(recorder, "WATCHED_S", 0.0)
    assert run.recorder() is None


def test_a_wish_to_stop_comes_with_the_time_that_is_left(stage: "Stage") -> None:
    run = Run(stage, Beat(watched=0, ask=0, heartbeat=0))
    database.transact(lambda session: verbs.cancel(session, run.job, SYSTEM))
    answer = run.recorder()
    assert answer is not None
    assert answer.stop
    assert answer.grace == pytest.approx(120, abs=5)
    assert stage.part(run.lease).state == PartState.stopping
