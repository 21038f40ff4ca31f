"""When a training counts as hung."""

import pytest

from cmac_core.events import Progress
from worker.supervisor.hang import Hung, Watch


def at(step: int, phase: str = "train", of: int = 100) -> Progress:
    return Progress(phase=phase, step=step, of=of)


def test_a_training_without_a_step_for_too_long_is_hung() -> None:
    watch = Watch(least=600)
    watch.see(at(1), 0)
    watch.see(at(2), 10)
    watch.see(at(2), 610)
    with pytest.raises(Hung, match="No step for 611 s after step 2; one takes 10 s"):
        watch.see(at(2), 621)


def test_slow_steps_get_twenty_times_their_usual_time() -> None:
    watch = Watch(least=600)
    for step in range(1, 5):
        watch.see(at(step), 100.0 * step)
    watch.see(at(4), 400 + 1999)
    with pytest.raises(Hung):
        watch.see(at(4), 400 + 2001)


def test_several_steps_between_two_looks_are_each_as_long_as_their_share() -> None:
    watch = Watch(least=1)
    watch.see(at(0), 0)
    watch.see(at(50), 10)  # .2 s each
    watch.see(at(50), 13.9)
    with pytest.raises(Hung):
        watch.see(at(50), 14.1)


@pytest.mark.parametrize("progress", [None, at(3, phase="features"), at(100)])
def test_only_steps_of_a_training_are_waited_for(progress: Progress | None) -> None:
    watch = Watch(least=600)
    watch.see(at(99), 0)
    watch.see(progress, 10)
    watch.see(progress, 100_000)
