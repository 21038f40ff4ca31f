"""The tables that the life of a job is made of are total and agree with each other."""

import itertools

import pytest

from cmac_core.events import Ended
from store.ends import ENDS, Budget, Facts, Reason, backoff_s, decide, judge
from store.states import ACTIVE, FINAL, MOVES, WAITING, JobState, StopFor

FRESH = Facts(
    stop_for=None,
    saved=False,
    max_restarts=2,
    user_restarts=0,
    infra_restarts=0,
    infra_without_progress=0,
    rejections=0,
)


def test_every_state_has_its_moves_and_final_is_final() -> None:
    assert set(MOVES) == set(JobState)
    assert set(JobState) == FINAL | WAITING | ACTIVE
    assert all(not MOVES[state] for state in FINAL)


def test_every_reason_has_an_end_that_a_live_job_may_take() -> None:
    assert set(ENDS) == set(Reason)
    for reason, state in itertools.product(Reason, (JobState.running, JobState.stopping)):
        assert decide(reason, FRESH).to in MOVES[state]


def test_every_state_can_be_left_for_an_end() -> None:
    for state in set(JobState) - FINAL:
        seen, todo = {state}, [state]
        while todo:
            todo += (new := MOVES[todo.pop()] - seen)
            seen |= new
        assert seen & FINAL


def test_a_stronger_wish_replaces_a_weaker_one() -> None:
    assert StopFor.cancel.is_stronger_than(StopFor.drain)
    assert not StopFor.drain.is_stronger_than(StopFor.pause)
    assert StopFor.drain.is_stronger_than(None)


def test_a_bug_does_not_run_three_times() -> None:
    assert decide(Reason.user_error, FRESH).to is JobState.failed


def test_an_error_after_a_checkpoint_is_tried_again_as_often_as_asked_for() -> None:
    facts = FRESH._replace(saved=True)
    first = decide(Reason.user_error, facts)
    assert (first.to, first.user_restarts, first.wait_s) == (JobState.queued, 1, 10)
    third = decide(Reason.user_error, facts._replace(user_restarts=2))
    assert (third.to, third.reason) == (JobState.failed, "user_error")


def test_lost_machines_use_no_budget_of_the_job_but_end_without_progress() -> None:
    decision = decide(Reason.worker_lost, FRESH)
    for ends in range(2, 6):
        assert (decision.to, decision.user_restarts) == (JobState.queued, 0)
        decision = decide(Reason.worker_lost, FRESH._replace(infra_without_progress=decision.infra_without_progress))
        assert decision.infra_without_progress == ends
    assert (decision.to, decision.reason) == (JobState.failed, "no_progress")


def test_a_new_checkpoint_forgives_the_losses_before() -> None:
    decision = decide(Reason.worker_lost, FRESH._replace(infra_without_progress=4, saved=True))
    assert (decision.to, decision.infra_without_progress) == (JobState.queued, 1)


def test_what_was_lost_after_a_checkpoint_goes_on_at_once_and_what_got_nowhere_waits() -> None:
    assert decide(Reason.supervisor_lost, FRESH._replace(saved=True)).wait_s == 0
    assert decide(Reason.supervisor_lost, FRESH).wait_s == 10


@pytest.mark.parametrize("reason", [reason for reason in Reason if reason is not Reason.ok])
def test_a_cancel_wins_over_everything_but_success(reason: Reason) -> None:
    asked = FRESH._replace(stop_for=StopFor.cancel)
    assert decide(reason, asked).to is JobState.cancelled
    assert decide(Reason.ok, asked).to is JobState.succeeded


def test_a_refused_launch_waits_longer_each_time_and_costs_nothing() -> None:
    decision = decide(Reason.launch_rejected, FRESH._replace(rejections=3))
    assert (decision.to, decision.wait_s, decision.rejections, decision.infra_restarts) == (JobState.queued, 80, 4, 0)
    assert ENDS[Reason.launch_rejected].budget is Budget.launch


def test_waiting_is_bounded() -> None:
    assert [backoff_s(n) for n in (0, 1, 2, 50)] == [10, 20, 40, 600]


@pytest.mark.parametrize(
    ("ended", "code", "stop_for", "reason"),
    [
        (Ended(outcome="finished"), 0, None, Reason.ok),
        (Ended(outcome="finished"), 0, StopFor.cancel, Reason.ok),
        (Ended(outcome="left"), 75, StopFor.cancel, Reason.cancelled),
        (Ended(outcome="left"), 1, StopFor.drain, Reason.drained),  # torchrun says 1 whatever its ranks say
        (Ended(outcome="left"), 75, None, Reason.drained),
        (Ended(outcome="failed", reason="diverged"), 1, None, Reason.diverged),
        (Ended(outcome="failed"), 1, None, Reason.supervisor_lost),  # it only saw another rank go away
        (None, 0, None, Reason.user_error),
        (None, -9, StopFor.cancel, Reason.cancelled),
        (None, 1, None, Reason.supervisor_lost),  # a rank was killed: an error of its own it would have told
        (None, None, None, Reason.supervisor_lost),
    ],
)
def test_the_last_word_counts(ended: Ended | None, code: int, stop_for: StopFor | None, reason: Reason) -> None:
    assert judge(ended, code, stop_for).reason is reason


def test_what_never_started_is_an_error_of_its_own() -> None:
    assert judge(None, 1, None, started=False).reason is Reason.user_error
