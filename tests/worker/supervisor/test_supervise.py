"""The loop around a child: real programs of a few lines, and ticks that are told what to answer."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import pytest

from store.errors import Fenced
from worker.marks import Mark, carrying
from worker.patience import Unreachable
from worker.supervisor.leaving import Leaving
from worker.supervisor.supervise import Answer, Fence, Pace, supervise

Spawn = Callable[[str], "subprocess.Popen[bytes]"]

FAST = Pace(look=0.01)
GO_ON = Answer(stop=False)

# Writes its pid once its handler is in place, as a rank does; saves for a moment and leaves with 75.
RANK = """
import os, signal, sys, time
def leave(*_):
    time.sleep({saving}); open("saved", "w").write("x"); sys.exit(75)
signal.signal(signal.SIGUSR1, leave)
open("rank-0.tmp", "w").write(str(os.getpid())); os.rename("rank-0.tmp", "rank-0.pid")
time.sleep(60)
"""


@dataclass
class Ticks:
    """Answers in turn, the last one for ever; an exception is raised."""

    answers: Sequence[Answer | Exception | None]
    calls: list[float] = field(default_factory=list)

    def __call__(self) -> Answer | None:
        answer = self.answers[min(len(self.calls), len(self.answers) - 1)]
        self.calls.append(time.monotonic())
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def leave(tmp_path: Path, mark: Mark) -> Callable[["subprocess.Popen[bytes]"], Leaving]:
    return lambda child: Leaving(child, tmp_path, mark, patience=0.2)


Leave = Callable[["subprocess.Popen[bytes]"], Leaving]


def wait_for(file: Path) -> None:
    until = time.monotonic() + 10
    while not file.exists():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_exit_code_comes_back(spawn: Spawn, leave: Leave) -> None:
    child = spawn("import sys; sys.exit(3)")
    assert supervise(child, Ticks([GO_ON]), leave(child), FAST) == (3, False)


def test_a_rank_of_another_machine_is_not_asked_in_anyones_stead(spawn: Spawn, leave: Leave, tmp_path: Path) -> None:
    """The folder is shared: over there that number is a rank, here it is the launcher."""
    child = spawn("import time; time.sleep(0.3)")
    (tmp_path / "rank-1.pid").write_text(str(child.pid))
    assert supervise(child, Ticks([Answer(stop=True, grace=10)]), leave(child), FAST).code == 0


def test_a_database_that_is_away_stops_nothing(spawn: Spawn, leave: Leave) -> None:
    child = spawn("import time; time.sleep(0.3)")
    ticks = Ticks([GO_ON, *[Unreachable()] * 5, GO_ON])
    assert supervise(child, ticks, leave(child), FAST).code == 0
    assert len(ticks.calls) > 6


def test_ranks_are_asked_to_save_and_leave(spawn: Spawn, leave: Leave, tmp_path: Path) -> None:
    child = spawn(RANK.format(saving=0.2))
    wait_for(tmp_path / "rank-0.pid")
    ticks = Ticks([GO_ON, Answer(stop=True, grace=10)])
    assert supervise(child, ticks, leave(child), FAST).code == 75
    assert (tmp_path / "saved").exists()
    assert len(ticks.calls) > 4, "heartbeats go on while it saves"


def test_a_rank_that_starts_after_the_wish_is_asked_too(spawn: Spawn, leave: Leave, tmp_path: Path) -> None:
    child = spawn("import time; time.sleep(0.3)\n" + RANK.format(saving=0))
    assert supervise(child, Ticks([Answer(stop=True, grace=10)]), leave(child), FAST).code == 75


def test_only_processes_of_this_attempt_are_asked(spawn: Spawn, leave: Leave, tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"])  # has the pid that a rank of an earlier boot had
    (tmp_path / "rank-0.pid").write_text(str(stranger.pid))
    child = spawn("import time; time.sleep(0.3)")
    supervise(child, Ticks([Answer(stop=True, grace=10)]), leave(child), FAST)
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_who_does_not_leave_within_its_grace_is_made_to(spawn: Spawn, leave: Leave, mark: Mark) -> None:
    child = spawn("import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)")
    start = time.monotonic()
    assert supervise(child, Ticks([Answer(stop=True, grace=0.2)]), leave(child), FAST).code == -signal.SIGKILL
    assert 0.35 < time.monotonic() - start < 3
    assert not carrying(mark)


def test_sigterm_comes_before_sigkill(spawn: Spawn, leave: Leave) -> None:
    child = spawn("import time; print(1, flush=True); time.sleep(60)")
    assert supervise(child, Ticks([Answer(stop=True, grace=0.3)]), leave(child), FAST).code == -signal.SIGTERM


def test_a_later_wish_gives_no_more_time(spawn: Spawn, leave: Leave) -> None:
    child = spawn("import time; time.sleep(60)")
    leaving = leave(child)
    leaving.by(5)
    leaving.by(7)
    assert leaving.deadline == 5
    child.kill()


def test_away_too_long_asks_and_then_fences_itself(spawn: Spawn, leave: Leave, tmp_path: Path, mark: Mark) -> None:
    child = spawn(RANK.format(saving=60))
    wait_for(tmp_path / "rank-0.pid")
    start = time.monotonic()
    end = supervise(child, Ticks([GO_ON, Unreachable()]), leave(child), Pace(look=0.01, quiet=0.2, fence=0.6))
    assert end == (-signal.SIGKILL, True)
    assert 0.5 < time.monotonic() - start < 3
    assert not carrying(mark)


def test_a_database_that_hangs_keeps_no_run_beyond_the_fence(
    spawn: Spawn, leave: Leave, tmp_path: Path, mark: Mark
) -> None:
    """It takes the question and does not answer: nothing is raised, and the loop waits."""
    child = spawn(RANK.format(saving=60))
    wait_for(tmp_path / "rank-0.pid")
    alive: list[bool] = []

    def hang() -> Answer:
        time.sleep(3)
        alive.append(bool(carrying(mark)))
        return GO_ON

    end = supervise(child, hang, leave(child), Pace(look=0.01, quiet=0.2, fence=0.6))
    assert alive == [False], "it was gone before the answer came"
    assert end == (-signal.SIGKILL, True)


def test_who_stood_still_asks_before_it_ends_anything(spawn: Spawn, leave: Leave, tmp_path: Path) -> None:
    """A supervisor that was stopped for longer than the fence: the attempt may still be its own."""
    program = spawn("import time; time.sleep(60)")
    leaving = leave(program)
    with Fence(leaving, Pace(look=0.01, quiet=1.0, fence=40.0)) as fence:
        fence._looked -= 20  # as after SIGCONT: so long ago, and nobody heard since
        fence.heard -= 100
        time.sleep(0.3)
        assert program.poll() is None
        program.wait(10)
        assert fence.fell, "nobody has confirmed it meanwhile"


def test_a_database_that_hangs_keeps_nobody_from_saving(spawn: Spawn, leave: Leave, tmp_path: Path) -> None:
    child = spawn(RANK.format(saving=0.1))
    wait_for(tmp_path / "rank-0.pid")

    def hang() -> Answer:
        time.sleep(2)
        return GO_ON

    end = supervise(child, hang, leave(child), Pace(look=0.01, quiet=0.2, fence=30))
    assert end == (75, False)


def test_away_too_long_may_save_in_time(spawn: Spawn, leave: Leave, tmp_path: Path) -> None:
    child = spawn(RANK.format(saving=0.1))
    wait_for(tmp_path / "rank-0.pid")
    end = supervise(child, Ticks([GO_ON, Unreachable()]), leave(child), Pace(look=0.01, quiet=0.2, fence=5))
    assert end == (75, False)


def test_alone_a_machine_trains_on_for_ever(spawn: Spawn, leave: Leave) -> None:
    child = spawn("import time; time.sleep(0.5)")
    assert supervise(child, Ticks([Unreachable()]), leave(child), Pace(look=0.01, quiet=inf, fence=inf)).code == 0


def test_a_fenced_supervisor_lets_go_of_the_loop_at_once(spawn: Spawn, leave: Leave) -> None:
    child = spawn("import time; time.sleep(60)")
    with pytest.raises(Fenced):
        supervise(child, Ticks([GO_ON, Fenced()]), leave(child), FAST)
    assert child.poll() is None, "killing is the caller's"
