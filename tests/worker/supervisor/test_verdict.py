"""What an end is called."""

from pathlib import Path

import pytest

from cmac_core.events import Ended
from store.ends import Reason
from store.states import StopFor
from worker.supervisor.lines import Words
from worker.supervisor.verdict import judge, tail_of


def test_the_last_word_is_the_truth_whatever_torchrun_answers() -> None:
    assert judge(1, Words(True, Ended(outcome="finished")), None, oom_killed=False, tail="").reason == Reason.ok
    left = Words(True, Ended(outcome="left"))
    assert judge(1, left, StopFor.cancel, oom_killed=False, tail="").reason == Reason.cancelled
    assert judge(1, left, None, oom_killed=False, tail="").reason == Reason.drained


def test_a_failure_says_what_the_core_said() -> None:
    ended = Ended(outcome="failed", reason="diverged", detail="loss is nan", hint="lower the rate")
    assert judge(1, Words(True, ended), None, oom_killed=True, tail="x") == (
        Reason.diverged,
        "loss is nan",
        "lower the rate",
    )


@pytest.mark.parametrize(
    ("code", "started", "reason"),
    [
        (0, True, Reason.user_error),
        (1, False, Reason.user_error),
        (-11, True, Reason.supervisor_lost),
        (-9, False, Reason.supervisor_lost),  # by somebody, before it could say that it had started
    ],
)
def test_an_end_without_a_word_shows_the_log(code: int, started: bool, reason: Reason) -> None:
    verdict = judge(code, Words(started, None), None, oom_killed=False, tail="Traceback: boom")
    assert verdict.reason == reason
    assert "Traceback: boom" in verdict.detail


def test_an_end_without_a_word_while_the_kernel_killed_is_oom() -> None:
    assert judge(1, Words(True, None), None, oom_killed=True, tail="").reason == Reason.oom
    assert judge(-9, Words(True, None), StopFor.pause, oom_killed=True, tail="").reason == Reason.paused


def test_the_tail_is_the_end_in_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert tail_of(log) == ""
    log.write_text("one\ntwo\n")
    assert tail_of(log) == "one\ntwo"
    log.write_bytes(b"".join(b"line %d \xff\0\n" % number for number in range(2000)))
    tail = tail_of(log)
    assert tail.endswith("line 1999 \ufffd")
    assert tail.startswith("line ")
    assert "\0" not in tail, "PostgreSQL's text holds none"
    assert len(tail) <= 4000
