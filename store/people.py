"""Users and projects: who there is, what each may do at most, and how much of the disk each project holds."""

from typing import Any, NamedTuple

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from store import audit
from store.errors import AlreadyExists, IllegalMove, NotFound
from store.keys import Principal, Role
from store.states import CheckpointState, DatasetState
from store.tables import Artifact, Checkpoint, Dataset, Job, Project, User


class Holding(NamedTuple):
    """A project, and the bytes of its files as they were registered (equal artifacts counted each time)."""

    name: str
    jobs: int
    dataset_bytes: int
    checkpoint_bytes: int
    artifact_bytes: int


def add_project(session: Session, name: str, principal: Principal) -> Holding:
    """Raises Forbidden (operators of the lab), AlreadyExists."""
    principal.require_for_lab(Role.operator)
    if session.scalar(select(Project.id).where(Project.name == name)) is not None:
        raise AlreadyExists(f"there is a project {name} already", existing=name)
    session.add(Project(name=name))
    audit.write(session, principal, "project.add", name)
    session.flush()
    return Holding(name, 0, 0, 0, 0)


def projects(session: Session, principal: Principal) -> list[Holding]:
    """Those that the principal sees, by name."""
    of_jobs = select(func.count()).where(Job.project == Project.name, Job.deleted_at.is_(None))
    datasets = _bytes(Dataset.bytes).where(Dataset.project == Project.name, Dataset.state == DatasetState.ok)
    there = (CheckpointState.ok, CheckpointState.bad)
    checkpoints = _bytes(Checkpoint.bytes).join(Job, Job.id == Checkpoint.job_id)
    checkpoints = checkpoints.where(Job.project == Project.name, Checkpoint.state.in_(there))
    artifacts = _bytes(Artifact.bytes).join(Job, Job.id == Artifact.job_id).where(Job.project == Project.name)
    sums = (part.scalar_subquery() for part in (of_jobs, datasets, checkpoints, artifacts))
    rows = session.execute(select(Project.name, *sums).order_by(Project.name))
    return [Holding(name, *map(int, counts)) for name, *counts in rows if principal.sees(name)]


def add_user(session: Session, name: str, role: Role, principal: Principal) -> User:
    """Somebody who may have keys of at most this role. Raises Forbidden (admins of the lab), AlreadyExists."""
    principal.require_for_lab(Role.admin)
    if session.scalar(select(User.id).where(User.name == name)) is not None:
        raise AlreadyExists(f"there is a user {name} already", existing=name)
    user = User(name=name, role=str(role))
    session.add(user)
    audit.write(session, principal, "user.add", name, after={"role": str(role)})
    session.flush()
    session.refresh(user)
    return user


def users(session: Session, principal: Principal) -> list[User]:
    """All of them by name. Raises Forbidden (operators of the lab)."""
    principal.require_for_lab(Role.operator)
    return list(session.scalars(select(User).order_by(User.name)))


def change_user(session: Session, name: str, wanted: dict[str, Any], principal: Principal) -> User:
    """Another role, or (not any more) disabled: then none of their keys opens anything; their jobs stay.

    Raises Forbidden (admins of the lab), NotFound, IllegalMove (nobody would be left who may do this).
    """
    principal.require_for_lab(Role.admin)
    # All admins are locked: of two that disable each other only one may.
    admins = session.scalars(_admins().order_by(User.name).with_for_update()).all()
    user = session.scalar(select(User).where(User.name == name).with_for_update())
    if user is None:
        raise NotFound(f"there is no user {name}")
    before = {key: str(getattr(user, key)) for key in wanted}
    for key, value in wanted.items():
        setattr(user, key, str(value) if key == "role" else value)
    session.flush()
    if admins and session.scalar(select(func.count()).select_from(_admins().subquery())) == 0:
        raise IllegalMove(f"{name} is the only admin; make another one first", state=str(user.role), allowed=[])
    audit.write(session, principal, "user.change", name, before=before, after={k: str(v) for k, v in wanted.items()})
    return user


def _admins() -> Select[Any]:
    return select(User).where(User.role == str(Role.admin), ~User.disabled, User.name != "system")


def _bytes(column: Any) -> Select[Any]:
    return select(func.coalesce(func.sum(column), 0))
