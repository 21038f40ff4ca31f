"""Why an attempt ended: the store's judgment, with what only this machine knows."""

import os
from pathlib import Path

from store import ends
from store.ends import Reason, Verdict
from store.states import StopFor
from worker.supervisor.lines import Words

TAIL = 4000  # bytes of the log


def judge(
    code: int | None,
    words: Words,
    stop_for: StopFor | None,
    *,
    oom_killed: bool,
    tail: str,
    out_of_time: bool = False,
) -> Verdict:
    """From the child's exit code, what it said of itself, and what it had been asked to leave for.

    `oom_killed`: the kernel killed for want of memory in this control group meanwhile; `tail`: the end of the log;
    `out_of_time`: it had to leave for its walltime.
    """
    verdict = ends.judge(words.ended, code, stop_for, words.started, out_of_time)
    if words.ended is not None or stop_for is not None or out_of_time:
        return verdict
    if oom_killed:
        return Verdict(Reason.oom, "The kernel killed a process of the run for want of memory.", "Ask for less memory.")
    return verdict._replace(detail="\n".join(filter(None, (verdict.detail, tail))))


def tail_of(file: Path) -> str:
    """The last whole lines of a log, at most `TAIL` bytes."""
    try:
        with file.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - TAIL))
            data = log.read()
    except FileNotFoundError:
        return ""
    lines = data.decode(errors="replace").replace("\0", "").splitlines()
    return "\n".join(lines[1:] if len(data) == TAIL else lines)
