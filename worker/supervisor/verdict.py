"""Why an attempt ended: its last event is the truth, the exit code only confirms it (QUEUE 8)."""

import signal
from typing import NamedTuple

from cmac_core.events import Ended


class Verdict(NamedTuple):
    """A reason of QUEUE 8, and what a person should read."""

    reason: str
    detail: str = ""


STOPPED = {"cancel": "cancelled", "pause": "paused", "preempt": "preempted", "drain": "drained"}


def judge(code: int | None, ended: Ended | None, stop_for: str | None, *, oom_killed: bool, tail: str) -> Verdict:
    """From the child's exit code, its `Ended` line if it wrote one, and what it had been asked to leave for."""
    match ended:
        case Ended(outcome="finished"):
            return Verdict("ok")
        case Ended(outcome="failed"):
            return Verdict(ended.reason or "user_error", "\n".join(filter(None, (ended.detail, ended.hint))))
        case Ended(outcome="left"):
            # Nobody here asked: the machine is going down, or a person signaled it. Its work is saved.
            return Verdict(STOPPED[stop_for or "drain"])
        case _:
            return _without_a_word(code, stop_for, oom_killed, tail)


def _without_a_word(code: int | None, stop_for: str | None, oom_killed: bool, tail: str) -> Verdict:
    if stop_for is not None:
        return Verdict(STOPPED[stop_for], "killed: it had not saved when its grace was over")
    if oom_killed:
        return Verdict("oom", f"the kernel killed a process for want of memory ({describe(code)})")
    return Verdict("user_error", "\n".join(filter(None, (f"ended without a last word ({describe(code)})", tail))))


def describe(code: int | None) -> str:
    """An exit code of subprocess in words."""
    if code is None:
        return "exit code unknown"
    if code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"
