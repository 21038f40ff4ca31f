"""What passes need of queued jobs. A row is read once, and again when it has changed.

A process remembers what it has read by the row's version. So a pass over a long line asks for its versions alone, and
for what is new among them; nothing has to be told to forget, and every process may look.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from store.policy import ANYWHERE, Pending, Waiting, Wants
from store.states import DeviceKind
from store.tables import JSON

# A row's id, the transaction that wrote it, and its place, which tells two writes of one transaction apart: 26 bytes.
# As one value they are read in a tenth of the time that rows of columns take.
_VERSION = "uuid_send(id) || xidsend(xmin) || tidsend(ctid)"
_BYTES, _ID_BYTES = 26, 16
_VERSIONS = (
    f"SELECT string_agg({_VERSION}, ''), now() FROM (SELECT id, xmin, ctid FROM jobs WHERE state = 'queued' %s) AS line"
)
_SOME = text(_VERSIONS % "LIMIT :most")  # in no order, which takes half the time
_FIRST = text(_VERSIONS % "ORDER BY priority, submitted_at, id LIMIT :most")
_FACTS = text(
    """
    SELECT id, gpus, cpu_slots, nodes, priority, project, owner, extract(epoch FROM submitted_at)::float8,
           extract(epoch FROM not_before)::float8, infra_restarts + user_restarts, rejections, reason, kind, scale,
           walltime_s - used_s, gpu_model, node_labels, waiting, xmin::text::bigint
      FROM jobs WHERE id = ANY(:ids) AND state = 'queued'
    """
)

Like = tuple[str, str]  # kind and scale: jobs that take as long


@dataclass(slots=True)
class Facts:
    """What the row of a queued job says."""

    pending: Pending  # as the policy sees it; for how long it may run is only known to `expecting`
    like: Like
    may_run_s: float | None
    told: Waiting | None  # why it waits, as its row says
    written: int  # the transaction that wrote the row: later ones have higher numbers
    age: tuple[int, float, UUID]  # its tier, when it was submitted, its id: the order of the line

    def expecting(self, runtime_s: float, guessed: bool) -> Pending:
        """The job, of which it is known now how long it may run."""
        self.pending = pending = self.pending._replace(runtime_s=runtime_s, guessed=guessed)
        return pending


class Reading(NamedTuple):
    """Facts of the whole line at one moment; replaced as a whole, so that threads may look at the same time."""

    versions: bytes
    by_version: dict[bytes, Facts]  # in the order of the line
    by_id: dict[UUID, Facts]
    likes: frozenset[Like]  # theirs, and of some that are gone


NOTHING = Reading(b"", {}, {}, frozenset())
_last = NOTHING


def read(session: Session, most: int) -> tuple[Reading, datetime]:
    """Facts of queued jobs by tier and age, `most` at most, and the database's time."""
    global _last
    last = _last
    found, now = session.execute(_SOME, {"most": most + 1}).one()
    if found is not None and len(found) > most * _BYTES:
        found, now = session.execute(_FIRST, {"most": most}).one()
    versions: bytes = found or b""
    if versions != last.versions:
        each = {versions[at : at + _BYTES] for at in range(0, len(versions), _BYTES)}
        new = each.difference(last.by_version)
        _last = last = _changed(last, versions, each, _fresh(session, new) if new else {})
    return last, now


def _changed(last: Reading, versions: bytes, each: set[bytes], fresh: dict[bytes, Facts]) -> Reading:
    """The line as it is now, from what stays of it and what is new; with little work for each that stays."""
    by_id = dict(last.by_id)
    for version in last.by_version.keys() - each:
        del by_id[last.by_version[version].pending.id]
    by_id |= {one.pending.id: one for one in fresh.values()}
    # Those that stay are in order already, which makes sorting them again cheap.
    found = [(version, one) for version, one in last.by_version.items() if version in each]
    ordered = dict(sorted([*found, *fresh.items()], key=lambda item: item[1].age))
    return Reading(versions, ordered, by_id, last.likes.union(one.like for one in fresh.values()))


def _fresh(session: Session, versions: Collection[bytes]) -> dict[bytes, Facts]:
    """What rows say that were not known. One that has changed again in between is there as it is now."""
    wanted = {version[:_ID_BYTES]: version for version in versions}
    rows = session.execute(_FACTS, {"ids": [UUID(bytes=job) for job in wanted]})
    return {wanted[row[0].bytes]: _facts(*row) for row in rows}


def wants(model: str | None, labels: Mapping[str, str]) -> Wants:
    """Which nodes a job may go to, as the policy sees it."""
    return Wants(model, tuple(sorted(labels.items()))) if model or labels else ANYWHERE


def _facts(
    job: UUID,
    gpus: int,
    slots: int,
    nodes: int,
    tier: int,
    project: str,
    owner: str,
    submitted_s: float,
    until_s: float | None,
    restarts: int,
    rejections: int,
    reason: str | None,
    kind: str,
    scale: str,
    may_run_s: float | None,
    model: str | None,
    labels: dict[str, str],
    why: JSON | None,
    written: int,
) -> Facts:
    device = DeviceKind.gpu if gpus else DeviceKind.cpu
    later = "" if until_s is None else _why_later(restarts, rejections, reason, until_s)
    pending = Pending(
        job, device, gpus or slots, until_s or 0.0, later, tier, project, owner, submitted_s, nodes=nodes,
        wants=wants(model, labels),
    )  # fmt: skip
    told = _told(why["code"], why["text"], why["expected_start"]) if why else None
    return Facts(pending, (kind, scale), may_run_s, told, written, (tier, submitted_s, job))


def _why_later(restarts: int, rejections: int, reason: str | None, until_s: float) -> str:
    """Why a job backs off: which try comes next, and how the last one ended."""
    until = datetime.fromtimestamp(until_s, UTC)
    what = f"launch {rejections + 1}" if rejections else f"restart {restarts}"
    return f"{what}{f' after {reason}' if reason else ''}; next try at {until:%H:%M:%S} UTC"


@lru_cache(maxsize=256)
def _told(code: str, text: str, start: str | None) -> Waiting:
    """One for all that are told the same: thousands are compared in every pass."""
    return Waiting(code, text, datetime.fromisoformat(start) if start else None)
