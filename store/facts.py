"""What passes need of queued jobs. A row is read once, and again when it has changed.

A process remembers what it has read by the row's version. So a pass over a long line asks for its versions alone, and
for what is new among them; nothing has to be told to forget, and every process may look.
"""

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from store.policy import ANYWHERE, Waiting, Wants
from store.states import DeviceKind
from store.tables import JSON

# A row's id, the transaction that wrote it, and its place, which tells two writes of one transaction apart.
# As one text it is read in a tenth of the time that rows of columns take.
_VERSIONS = text(
    """
    SELECT string_agg(version, ' ')
      FROM (SELECT id || '/' || xmin || '/' || ctid AS version
              FROM jobs WHERE state = 'queued'
          ORDER BY priority, submitted_at, id LIMIT :most) AS line
    """
)
_FACTS = text(
    """
    SELECT id, gpus, cpu_slots, nodes, priority, project, owner, extract(epoch FROM submitted_at)::float8,
           extract(epoch FROM not_before)::float8, infra_restarts + user_restarts, rejections, reason, kind, scale,
           walltime_s - used_s, gpu_model, node_labels, waiting, xmin::text::bigint
      FROM jobs WHERE id = ANY(:ids) AND state = 'queued'
    """
)


class Facts(NamedTuple):
    """Of a queued job, all that its row says."""

    id: UUID
    kind: DeviceKind
    devices: int
    nodes: int
    tier: int
    project: str
    owner: str
    submitted_s: float  # since 1970
    until_s: float | None  # since 1970: it backs off
    restarts: int
    rejections: int  # launches refused in a row
    reason: str | None  # how the last try ended
    like: tuple[str, str]  # its kind and scale: jobs that take as long
    may_run_s: float | None
    wants: Wants
    told: Waiting | None  # why it waits, as its row says
    written: int  # the transaction that wrote the row: later ones have higher numbers


_known: dict[str, Facts] = {}  # by version; replaced as a whole, so that threads may look at the same time


def read(session: Session, most: int) -> list[Facts]:
    """Facts of queued jobs by tier and age, `most` at most."""
    global _known
    known, fresh = _known, dict[str, Facts]()
    versions = (session.scalar(_VERSIONS, {"most": most}) or "").split()
    new = [_job(version) for version in versions if version not in known]
    if new:
        fresh = {str(row[0]): _facts(*row) for row in session.execute(_FACTS, {"ids": new})}
    # What has changed again in between is there as it is now, and is read anew at the next look.
    found = {version: facts for version in versions if (facts := known.get(version) or fresh.get(_job(version)))}
    _known = found
    return list(found.values())


def wants(model: str | None, labels: Mapping[str, str]) -> Wants:
    """Which nodes a job may go to, as the policy sees it."""
    return Wants(model, tuple(sorted(labels.items()))) if model or labels else ANYWHERE


def _job(version: str) -> str:
    return version.partition("/")[0]


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
    told = _told(why["code"], why["text"], why["expected_start"]) if why else None
    like, wanted = (kind, scale), wants(model, labels)
    return Facts(
        job, device, gpus or slots, nodes, tier, project, owner, submitted_s, until_s, restarts, rejections,
        reason, like, may_run_s, wanted, told, written,
    )  # fmt: skip


@lru_cache(maxsize=256)
def _told(code: str, text: str, start: str | None) -> Waiting:
    """One for all that are told the same: thousands are compared in every pass."""
    return Waiting(code, text, datetime.fromisoformat(start) if start else None)
