"""Packed datasets: named, versioned, found by NAME or NAME@VERSION."""

from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from cmac_core.data.manifest import QUARANTINE, Quarantined
from cmac_core.events import DatasetMade
from cmac_core.specs import JOB_SPEC, Pack
from store import audit
from store.errors import Forbidden, InUse, NotFound
from store.keys import Principal, Role
from store.states import FINAL, DatasetState
from store.tables import Dataset, Job


def find(session: Session, reference: str, principal: Principal) -> Dataset | None:
    """NAME@VERSION, or the newest of NAME; None when there is none or it is another project's."""
    name, _, version = reference.partition("@")
    query = _visible(principal).where(Dataset.name == name, Dataset.state == DatasetState.ok)
    if version:
        query = query.where(Dataset.version == int(version))
    return session.scalars(query.order_by(Dataset.version.desc()).limit(1)).first()


def register(session: Session, job: Job, made: DatasetMade) -> Dataset:
    """What a pack made becomes the next version of its name; said again by the same job, the same version."""
    dataset = session.scalar(select(Dataset).where(Dataset.job_id == job.id))
    if dataset is None:
        spec = JOB_SPEC.validate_python(job.spec)
        assert isinstance(spec, Pack)
        # Two packs of one name may end together: the second one waits here and takes the next number.
        session.execute(select(func.pg_advisory_xact_lock(func.hashtext(f"dataset {spec.dataset}"))))
        newest = session.scalar(select(func.max(Dataset.version)).where(Dataset.name == spec.dataset)) or 0
        root = getattr(spec.source, "root", None)
        dataset = Dataset(name=spec.dataset, version=newest + 1, job_id=job.id, project=job.project, root=root)
        session.add(dataset)
    dataset.path = made.path
    dataset.manifest_sha256 = made.manifest_sha256
    dataset.clips, dataset.quarantined, dataset.with_audio = made.clips, made.quarantined, made.with_audio
    dataset.hours, dataset.bytes, dataset.media = made.hours, made.bytes, made.media
    dataset.labels, dataset.counts = dict(made.labels), dict(made.counts)
    session.flush()
    return dataset


def get(session: Session, reference: str, principal: Principal) -> Dataset:
    """By id or NAME[@VERSION]. Raises NotFound."""
    try:
        query = _visible(principal).where(Dataset.id == UUID(reference))
    except ValueError:
        name, _, version = reference.partition("@")
        query = _visible(principal).where(Dataset.name == name)
        if version:
            query = query.where(Dataset.version == (int(version) if version.isdecimal() else -1))
    dataset = session.scalars(query.order_by(Dataset.version.desc()).limit(1)).first()
    if dataset is None:
        raise NotFound(f"no dataset {reference}")
    return dataset


def listed(session: Session, principal: Principal, limit: int = 200) -> list[Dataset]:
    """Newest first."""
    offered = _visible(principal).where(Dataset.state == DatasetState.ok)
    return list(session.scalars(offered.order_by(Dataset.created_at.desc(), Dataset.id).limit(limit)))


def archive(session: Session, dataset_id: UUID, principal: Principal) -> Dataset:
    """No longer offered; the files stay. Raises NotFound, Forbidden, InUse (an unfinished job reads it)."""
    dataset = get(session, str(dataset_id), principal)
    maker = session.get(Job, dataset.job_id) if dataset.job_id else None
    if not principal.role.includes(Role.operator) and (maker is None or maker.owner != principal.user):
        raise Forbidden("only who packed a dataset, or an operator, may archive it", needs_role="operator")
    reader = session.scalar(select(Job.id).where(Job.dataset_id == dataset.id, Job.state.not_in(FINAL)).limit(1))
    if reader is not None:
        raise InUse(f"job {reader} is not finished and reads {dataset.reference}", by=str(reader))
    dataset.state = DatasetState.archived
    audit.write(session, principal, "dataset.archive", dataset.reference)
    return dataset


def quarantine(session: Session, dataset: Dataset) -> list[dict[str, Any]]:
    """Rejected files: [{source, reason, detail}]. Raises NotFound when the folder is gone."""
    try:
        with (Path(dataset.path) / QUARANTINE).open("rb") as file:
            return [Quarantined.model_validate_json(line).model_dump() for line in file]
    except FileNotFoundError as error:
        if dataset.quarantined == 0:
            return []
        raise NotFound(f"the files of {dataset.reference} are gone from {dataset.path}") from error


def _visible(principal: Principal) -> Select[Dataset]:
    query = select(Dataset)
    return query if principal.project is None else query.where(Dataset.project == principal.project)
