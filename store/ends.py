"""How attempts end: every reason, where the job goes for it, and which budget pays (QUEUE 8)."""

import signal
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from cmac_core.events import LEFT, Ended
from store.states import JobState, StopFor


class Reason(StrEnum):
    ok = "ok"
    cancelled = "cancelled"
    paused = "paused"
    preempted = "preempted"
    drained = "drained"
    user_error = "user_error"
    oom = "oom"
    data_error = "data_error"
    diverged = "diverged"
    walltime = "walltime"
    bad_spec = "bad_spec"
    hung = "hung"
    supervisor_lost = "supervisor_lost"
    worker_lost = "worker_lost"
    node_rebooted = "node_rebooted"
    self_fenced = "self_fenced"
    disk_full = "disk_full"
    node_fault = "node_fault"
    launch_rejected = "launch_rejected"
    gang_timeout = "gang_timeout"


class Budget(StrEnum):
    none = "none"
    user = "user"  # max_restarts of the spec
    infra = "infra"  # five without a new checkpoint between
    launch = "launch"  # never stepped: waits a little longer each time


class End(NamedTuple):
    to: JobState
    budget: Budget = Budget.none


_J = JobState
ENDS: Mapping[Reason, End] = {
    Reason.ok: End(_J.succeeded),
    Reason.cancelled: End(_J.cancelled),
    Reason.paused: End(_J.paused),
    Reason.preempted: End(_J.queued),
    Reason.drained: End(_J.queued),
    Reason.user_error: End(_J.queued, Budget.user),
    Reason.oom: End(_J.failed),
    Reason.data_error: End(_J.failed),
    Reason.diverged: End(_J.failed),
    Reason.walltime: End(_J.failed),
    Reason.bad_spec: End(_J.failed),
    Reason.hung: End(_J.queued, Budget.infra),
    Reason.supervisor_lost: End(_J.queued, Budget.infra),
    Reason.worker_lost: End(_J.queued, Budget.infra),
    Reason.node_rebooted: End(_J.queued, Budget.infra),
    Reason.self_fenced: End(_J.queued, Budget.infra),
    Reason.disk_full: End(_J.queued, Budget.infra),
    Reason.node_fault: End(_J.queued, Budget.infra),
    Reason.launch_rejected: End(_J.queued, Budget.launch),
    Reason.gang_timeout: End(_J.queued, Budget.launch),
}

NO_PROGRESS = "no_progress"  # reason of a job (no attempt has it)
DEPENDENCY_FAILED = "dependency_failed"
INFRA_ENDS = 5  # without a new checkpoint between
OUT_OF_TIME = "Its walltime is used up."
KILLED = (-signal.SIGKILL, -signal.SIGTERM)  # no program does that to itself
BACKOFF_S, LONGEST_BACKOFF_S = 10.0, 600.0

STOPPED: Mapping[StopFor, Reason] = {
    StopFor.cancel: Reason.cancelled,
    StopFor.pause: Reason.paused,
    StopFor.preempt: Reason.preempted,
    StopFor.drain: Reason.drained,
}


def tells_more(reason: Reason, than: Reason) -> bool:
    """Whether the end of one machine's part says why another's lost its ranks, which itself knows only that."""
    if than is Reason.ok:  # its ranks left well; whether the run did, part 0 knows
        return reason is not Reason.ok
    end = ENDS[reason]
    known = end.to is JobState.failed or end.budget in (Budget.user, Budget.infra)
    return than is Reason.supervisor_lost and reason is not than and known


class Verdict(NamedTuple):
    reason: Reason
    detail: str = ""
    hint: str = ""


def judge(
    ended: Ended | None,
    exit_code: int | None,
    stop_for: StopFor | None,
    started: bool = True,
    out_of_time: bool = False,
) -> Verdict:
    """Why a run is over: the core's last word is the truth, the exit code confirms it.

    `ended` is the last Ended line (None: there was none), `exit_code` of the child (torchrun says 1 for any
    rank that failed; None: it was gone when somebody looked), `stop_for` what it had been asked to leave for,
    `started` whether there was a Started line, `out_of_time` whether it had to leave for its walltime.
    """
    asked = STOPPED[stop_for] if stop_for else Reason.walltime if out_of_time else None
    if ended is not None:
        return _by_its_word(ended, asked)
    if asked is not None:
        return Verdict(asked, "It did not save in time and was ended.")
    if exit_code == LEFT:
        return Verdict(Reason.drained)
    if (started and exit_code != 0) or exit_code in KILLED:
        # An error of its own it would have told: a process that goes without a word was killed.
        return Verdict(Reason.supervisor_lost, f"A process of the run was killed (exit code {exit_code}).")
    hint = "Look at the end of its log."
    return Verdict(Reason.user_error, f"The run ended with exit code {exit_code} and without a last word.", hint)


def _by_its_word(ended: Ended, asked: Reason | None) -> Verdict:
    if ended.outcome == "finished":
        return Verdict(Reason.ok)
    if ended.outcome == "left":
        # Unasked (a container's SIGTERM) it is a drain: saved, and goes on later.
        return Verdict(asked or Reason.drained, OUT_OF_TIME if asked is Reason.walltime else "")
    # A rank that only saw another one go away gives no reason.
    return Verdict(Reason(ended.reason or Reason.supervisor_lost), ended.detail, ended.hint)


def backoff_s(times: int) -> float:
    """Seconds to wait before restart number `times` + 1: 10 * 2^times, at most 10 min."""
    return min(BACKOFF_S * 2.0**times, LONGEST_BACKOFF_S)


class Facts(NamedTuple):
    """What the decision about a job depends on when its attempt has ended."""

    stop_for: StopFor | None
    saved: bool  # this attempt has registered a checkpoint
    max_restarts: int
    user_restarts: int
    infra_restarts: int
    infra_without_progress: int
    rejections: int
    out_of_time: bool = False  # nothing of its walltime is left


class Decision(NamedTuple):
    """Where the job goes, why, how long it waits there, and what its counters are then."""

    to: JobState
    reason: str
    detail: str
    wait_s: float
    user_restarts: int
    infra_restarts: int
    infra_without_progress: int
    rejections: int


def decide(reason: Reason, facts: Facts) -> Decision:
    """Destination and budget of QUEUE 8. A cancel that was asked for wins over everything but success."""
    if facts.stop_for is StopFor.cancel and reason is not Reason.ok:
        reason = Reason.cancelled
    end = ENDS[reason]
    user, infra, silent, rejected = facts.user_restarts, facts.infra_restarts, facts.infra_without_progress, 0
    to, why, detail, wait = end.to, str(reason), "", 0.0
    if facts.saved:
        silent = 0
    if end.budget is Budget.user:
        if not facts.saved:  # a bug does not run three times (RULINGS 21)
            to = JobState.failed
        elif user >= facts.max_restarts:
            to, detail = JobState.failed, f"It failed again after {user} restarts."
        else:
            wait, user = backoff_s(user), user + 1
    elif end.budget is Budget.infra:
        infra, silent = infra + 1, silent + 1
        if silent >= INFRA_ENDS:
            to, why = JobState.failed, NO_PROGRESS
            detail = f"{silent} attempts in a row were lost without a new checkpoint; the last one to {reason}."
        else:
            # What got further is not going round in circles: it goes on at once (record 85 of DECISIONS).
            wait = 0.0 if facts.saved else backoff_s(silent - 1)
    elif end.budget is Budget.launch:
        rejected = facts.rejections + 1
        wait = backoff_s(facts.rejections)
    if facts.out_of_time and to is JobState.queued:
        to, why, detail, wait = JobState.failed, str(Reason.walltime), OUT_OF_TIME, 0.0
    if facts.stop_for is StopFor.pause and to is JobState.queued:
        to, wait = JobState.paused, 0.0  # whatever went wrong on the way, nobody wants it to run now
    return Decision(to, why, detail, wait, user, infra, silent, rejected)
