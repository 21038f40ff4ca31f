"""Curves: many points in one statement, read back thinned so that spikes stay."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session


class Point(NamedTuple):
    name: str
    step: int
    value: float | None
    train_epoch: float | None


def add(session: Session, job_id: UUID, epoch: int, points: Sequence[Point]) -> None:
    """All points in one INSERT."""
    raise NotImplementedError


def names(session: Session, job_id: UUID) -> list[str]:
    """Names of a job's curves."""
    raise NotImplementedError


def series(
    session: Session,
    job_id: UUID,
    names: Sequence[str] | None = None,
    points: int = 500,
    from_step: int = 0,
    x: str = "step",
) -> list[dict[str, Any]]:
    """[{name, x, y, min, max, thinned, non_finite}]: at most about `points` each; 0 is all. `x`: step, time, train_epoch."""
    raise NotImplementedError


def after(session: Session, job_id: UUID, epoch: int, step: int, limit: int = 2000) -> list[dict[str, Any]]:
    """Points behind (epoch, step) in that order, for a live stream: [{epoch, step, train_epoch, values: {name: value}}]."""
    raise NotImplementedError


def rows(session: Session, job_id: UUID, names: Sequence[str] | None = None) -> Iterator[tuple[Any, ...]]:
    """Every point that counts, for CSV: (name, step, train_epoch, value, epoch, at)."""
    raise NotImplementedError
