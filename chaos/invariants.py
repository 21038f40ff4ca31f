"""QUEUE.md's invariants as pure checks over a history. Each returns what is wrong, in words with ids.

`ALWAYS` hold at every moment, `AT_REST` once all jobs of a history are final and the service is whole.
"""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from uuid import UUID

from chaos.history import History
from cmac_core.events import Metrics, read
from store.states import ACTIVE, FINAL, LIVE_PARTS, MOVES, AttemptState, CheckpointState, JobState
from store.tables import DeviceLease, Job

Check = Callable[[History], Iterator[str]]

FOREVER = datetime.max.replace(tzinfo=UTC)
STOLEN = {"worker_lost", "self_fenced"}  # ends after which the rest of what a run wrote is nobody's


def devices_are_leased_once(history: History) -> Iterator[str]:
    """No two leases of a device overlap in time."""
    of: defaultdict[UUID, list[DeviceLease]] = defaultdict(list)
    for lease in history.leases:
        of[lease.gpu_id].append(lease)
    for device, leases in of.items():
        for one, next_one in pairwise(sorted(leases, key=lambda lease: lease.leased_at)):
            if next_one.leased_at < (one.released_at or FOREVER):
                until = one.released_at or "now"
                yield (
                    f"device {device} was leased to attempt {one.attempt_id} until {until} and to attempt "
                    f"{next_one.attempt_id} from {next_one.leased_at}"
                )


def one_attempt_lives(history: History) -> Iterator[str]:
    """At most one attempt of a job is not over, it is the newest, and the job knows."""
    for job, attempts in history.by_job(history.attempts):
        live = [attempt.epoch for attempt in attempts if attempt.state is not AttemptState.exited]
        if len(live) > 1:
            yield f"job {job.id} has live attempts of epochs {live}"
        if live not in ([], [job.epoch]):
            yield f"job {job.id} is at epoch {job.epoch} and lives at {live}"
        if bool(live) != (job.state in ACTIVE):
            yield f"job {job.id} is {job.state} with {len(live)} live attempts"


def parts_end_with_their_attempt(history: History) -> Iterator[str]:
    """A part lives exactly as long as its attempt."""
    over = {attempt.id: attempt.state is AttemptState.exited for attempt in history.attempts}
    for part in history.parts:
        if (part.state in LIVE_PARTS) == over[part.attempt_id]:
            yield f"attempt {part.attempt_id} is over: {over[part.attempt_id]}, and its part is {part.state}"


def epochs_grow_by_one(history: History) -> Iterator[str]:
    """Epochs are 1, 2, 3, ... up to the job's, each used once."""
    for job, attempts in history.by_job(history.attempts):
        found = [attempt.epoch for attempt in attempts]
        if found != list(range(1, job.epoch + 1)):
            yield f"job {job.id} is at epoch {job.epoch} and has attempts of epochs {found}"


def history_has_no_gaps(history: History) -> Iterator[str]:
    """Events are numbered 1, 2, 3, ... up to the job's counter, until retention takes some."""
    for job, events in history.by_job(history.events):
        if job.events_removed_at is not None:
            continue
        found = [event.seq for event in events]
        if found != list(range(1, job.event_seq + 1)):
            yield f"job {job.id} counts {job.event_seq} events and has {found}"


def moves_are_allowed(history: History) -> Iterator[str]:
    """Each state follows the one before by the table of moves, and the last one is the job's; so final is final."""
    for job, events in history.by_job(history.events):
        state: JobState | None = None
        whole = job.events_removed_at is None
        for event in events:
            if event.type not in ("state", "end") or "was" not in event.data:
                continue
            to, was = JobState(event.data["state"]), event.data["was"]
            if whole and (None if was is None else JobState(was)) is not state:
                yield f"job {job.id}, event {event.seq}: it was {state}, not {was}"
            if state is not None and to not in MOVES[state]:
                yield f"job {job.id}, event {event.seq}: {state} became {to}"
            state = to
        if state is not job.state:
            yield f"job {job.id} is {job.state}, its history ends with {state}"


def nothing_old_is_stored(history: History) -> Iterator[str]:
    """No row of an attempt was written after that attempt was over."""
    ends = {(attempt.job_id, attempt.epoch): attempt.exited_at or FOREVER for attempt in history.attempts}
    written = [
        *(("metric", row.job_id, row.epoch, f"{row.name} of step {row.step}", row.at) for row in history.metrics),
        *(("checkpoint", row.job_id, row.epoch, str(row.id), row.created_at) for row in history.checkpoints),
        *(("artifact", row.job_id, row.epoch, row.name, row.created_at) for row in history.artifacts),
        *(("result", row.job_id, row.epoch, "", row.created_at) for row in history.results),
    ]
    for kind, job, epoch, name, at in written:
        end = ends.get((job, epoch))
        if end is None:
            yield f"{kind} {name} of job {job} has epoch {epoch}, which no attempt has"
        elif at > end:
            yield f"{kind} {name} of job {job}, epoch {epoch}, was written at {at}; the attempt ended at {end}"
    yield from _checkpoints_in_their_time(history)


def _checkpoints_in_their_time(history: History) -> Iterator[str]:
    """The same by the order of events, which no clock can blur."""
    epochs = {str(row.id): row.epoch for row in history.checkpoints}
    for job, events in history.by_job(history.events):
        now = 0
        for event in events:
            if event.type == "state" and event.data["state"] == JobState.scheduled:
                now = event.data["epoch"]
            if event.type == "checkpoint" and epochs.get(event.data["id"]) != now:
                yield f"job {job.id}, event {event.seq}: a checkpoint of another epoch than {now} was registered"


def resumes_from_what_is_registered(history: History) -> Iterator[str]:
    """An attempt goes on from a checkpoint of an earlier epoch of its own job, or of a job that this one retries."""
    known = {str(row.id): row for row in history.checkpoints}
    for attempt in history.attempts:
        given = (attempt.inputs or {}).get("resume")
        if given is None:
            continue
        row = known.get(given["id"])
        if row is not None and row.job_id in _retried(history, attempt.job_id):
            continue
        if row is None or row.job_id != attempt.job_id or row.epoch >= attempt.epoch:
            yield f"attempt {attempt.id} (epoch {attempt.epoch}) resumed from checkpoint {given['id']}, not its own"


def _retried(history: History, job: UUID) -> Iterator[UUID]:
    """The job that one retries, the one which that retries, and so on."""
    before = {one.id: one.retry_of for one in history.jobs}
    earlier = before.get(job)
    while earlier is not None:
        yield earlier
        earlier = before.get(earlier)


def leases_end_with_attempts(history: History) -> Iterator[str]:
    """No device is held for an attempt that is over."""
    over = {attempt.id for attempt in history.attempts if attempt.state is AttemptState.exited}
    for lease in history.leases:
        if lease.attempt_id in over and lease.released_at is None:
            yield f"device {lease.gpu_id} is still leased to attempt {lease.attempt_id}, which is over"


def checkpoints_are_whole(history: History) -> Iterator[str]:
    """A checkpoint that counts has its file, of its length and sha256; none was ever found broken."""
    for row in history.checkpoints:
        if row.state is CheckpointState.bad:
            yield f"checkpoint {row.id} of job {row.job_id}, step {row.step}, is bad"
        if row.state is not CheckpointState.ok:
            continue
        try:
            data = Path(row.path).read_bytes()
        except OSError as error:
            yield f"checkpoint {row.id} of job {row.job_id}: {error.strerror}: {row.path}"
            continue
        if (len(data), hashlib.sha256(data).hexdigest()) != (row.bytes, row.sha256):
            yield f"checkpoint {row.id} of job {row.job_id} is not what was registered: {row.path}"


def every_line_is_stored_once(history: History, folder: Callable[[UUID, int], Path]) -> Iterator[str]:
    """What a run wrote is what is stored; of an attempt that was given up for lost, a part of it."""
    stored: defaultdict[tuple[UUID, int], set[tuple[str, int]]] = defaultdict(set)
    for row in history.metrics:
        if not row.name.startswith("sys/"):
            stored[row.job_id, row.epoch].add((row.name, row.step))
    for attempt in history.attempts:
        lines, _ = read(folder(attempt.job_id, attempt.epoch))
        written = {(name, line.step) for line in lines if isinstance(line, Metrics) for name in line.values}
        found = stored[attempt.job_id, attempt.epoch]
        where = f"job {attempt.job_id}, epoch {attempt.epoch} ({attempt.reason})"
        if extra := found - written:
            yield f"{where}: stored and never written: {sorted(extra)[:5]}"
        if (lost := written - found) and attempt.reason not in STOLEN:
            yield f"{where}: written and not stored: {sorted(lost)[:5]}"


def jobs_are_final(history: History) -> Iterator[str]:
    """Nothing is lost: every job has ended, once."""
    for job, events in history.by_job(history.events):
        ends = sum(event.type == "end" for event in events)
        if job.state not in FINAL:
            yield f"job {job.id} is {job.state}: {job.reason or ''} {job.waiting or ''}"
        elif ends != 1:
            yield f"job {job.id} ended {ends} times"


def curves_are_whole(history: History, expected: Mapping[UUID, Mapping[tuple[str, int], float]]) -> Iterator[str]:
    """Of jobs that succeeded: each value is there, and has the undisturbed run's value in every epoch that has it."""
    found: defaultdict[UUID, defaultdict[tuple[str, int], set[float | None]]] = defaultdict(lambda: defaultdict(set))
    for row in history.metrics:
        found[row.job_id][row.name, row.step].add(row.value)
    for job, wanted in expected.items():
        for key, value in wanted.items():
            if found[job][key] != {value}:
                yield f"job {job}, {key[0]} of step {key[1]}: {sorted(map(str, found[job][key]))}, expected {value}"


def results_are_right(history: History, expected: Mapping[UUID, Mapping[str, float]]) -> Iterator[str]:
    """Of jobs that succeeded: the result, and of the epoch that ended well, is the undisturbed run's."""
    values: defaultdict[UUID, dict[str, float]] = defaultdict(dict)
    for row in history.values:
        values[row.job_id][row.name] = row.value
    told = {result.job_id: result.epoch for result in history.results}
    newest = {job.id: job.epoch for job in history.jobs}
    for job, wanted in expected.items():
        if values[job] != wanted:
            yield f"job {job} has the result {values[job]}, undisturbed it is {dict(wanted)}"
        if told.get(job) != newest[job]:
            yield f"job {job} ended well in epoch {newest[job]}, its result is of epoch {told.get(job)}"


def jobs_are_those_submitted(history: History, names: list[str]) -> Iterator[str]:
    """One job for each submission, however often it was sent."""
    found, wanted = Counter(job.name for job in history.jobs), Counter(names)
    for name in found | wanted:
        if found[name] != wanted[name]:
            yield f"{name} was submitted {wanted[name]} times and is there {found[name]} times"


ALWAYS: tuple[Check, ...] = (
    devices_are_leased_once,
    one_attempt_lives,
    parts_end_with_their_attempt,
    epochs_grow_by_one,
    history_has_no_gaps,
    moves_are_allowed,
    nothing_old_is_stored,
    resumes_from_what_is_registered,
)
AT_REST: tuple[Check, ...] = (*ALWAYS, jobs_are_final, leases_end_with_attempts, checkpoints_are_whole)


class Watch:
    """What was seen of jobs earlier: what is final stays so, and counters only grow."""

    def __init__(self) -> None:
        self._seen: dict[UUID, tuple[JobState, int, int]] = {}

    def look(self, jobs: list[Job]) -> Iterator[str]:
        """Compare with the last look."""
        for job in jobs:
            state, epoch, seq = self._seen.get(job.id, (job.state, 0, 0))
            if state in FINAL and job.state is not state:
                yield f"job {job.id} was {state} and is {job.state}"
            if job.epoch < epoch or job.event_seq < seq:
                yield f"job {job.id} was at epoch {epoch}, event {seq} and is at {job.epoch}, {job.event_seq}"
            self._seen[job.id] = (job.state, job.epoch, job.event_seq)
        for gone in self._seen.keys() - {job.id for job in jobs}:
            yield f"job {gone} was there and is not any more"


def broken(checks: tuple[Check, ...], history: History) -> list[str]:
    """All that is wrong, each under the name of its invariant."""
    return [f"{check.__name__}: {text}" for check in checks for text in check(history)]
