"""Which checkpoints of a training stay."""

from typing import NamedTuple

from cmac_core.retention import outdated
from cmac_core.specs.method import Checkpoints


class Saved(NamedTuple):
    """A checkpoint as the decision sees it."""

    train_epoch: float
    metrics: dict[str, float] | None = None


def left(saved: list[Saved], plan: Checkpoints, passes: int = 100) -> list[float]:
    """What stays when each is saved in its turn and what is outdated goes."""
    there: list[Saved] = []
    for one in saved:
        there.append(one)
        gone = outdated(there[::-1], plan, passes)
        there = [other for other in there if not any(other is old for old in gone)]
    return [one.train_epoch for one in there]


def passes(*losses: float) -> list[Saved]:
    return [Saved(float(number), {"loss": loss}) for number, loss in enumerate(losses, 1)]


def test_the_newest_every_tenth_pass_and_the_best_stay_unless_told_otherwise() -> None:
    losses = [9.0] * 25
    losses[6] = 1.0
    assert left(passes(*losses), Checkpoints()) == [7, 10, 20, 23, 24, 25]


def test_each_can_be_turned_off_and_keep_0_keeps_all() -> None:
    told = passes(1, 2, 3, 4, 5, 6)
    assert left(told, Checkpoints(keep=2, keep_every=0, keep_best=0)) == [5, 6]
    assert left(told, Checkpoints(keep=1, keep_every=3, keep_best=0)) == [3, 6]
    assert left(told, Checkpoints(keep=1, keep_every=0, keep_best=2)) == [1, 2, 6]
    assert left(told, Checkpoints(keep=0)) == [1, 2, 3, 4, 5, 6]


def test_an_accuracy_decides_before_a_loss_and_of_equals_the_earliest_stays() -> None:
    right = [0.2, 0.8, 0.8, 0.5]
    told = [Saved(float(number), {"loss": number, "accuracy": share}) for number, share in enumerate(right, 1)]
    assert left(told, Checkpoints(keep=1, keep_every=0)) == [2, 4]


def test_without_a_measure_there_is_no_best() -> None:
    assert left([Saved(1.0), Saved(2.0, {}), Saved(3.0)], Checkpoints(keep=1, keep_every=0)) == [3]


def test_what_was_saved_within_a_pass_leaves_when_the_training_is_done() -> None:
    straight = passes(3, 2, 1, 1, 1)
    stopped = sorted([*straight, Saved(1.5), Saved(3.2), Saved(3.4), Saved(4.3), Saved(4.6), Saved(4.9)])
    plan = Checkpoints(keep=3, keep_every=2)
    assert left(stopped[:-1], plan, passes=5) == [2, 3, 4, 4.3, 4.6, 4.9]
    assert left(stopped, plan, passes=5) == left(straight, plan, passes=5) == [2, 3, 4, 5]


def test_a_pass_whose_end_the_clock_alone_saved_takes_no_place() -> None:
    by_chance = [*passes(1, 1, 1, 1), Saved(5.0, {"loss": 0.0}), *(Saved(float(n), {"loss": 2.0}) for n in (6, 8))]
    plan = Checkpoints(keep=2, every_epochs=2, keep_every=0, keep_best=1)
    assert left(by_chance, plan, passes=8) == [2, 6, 8]


def test_a_pass_to_be_kept_is_saved() -> None:
    plan = Checkpoints(every_epochs=4, keep_every=6)
    assert [number for number in range(1, 13) if plan.due_after(number)] == [4, 6, 8, 12]
