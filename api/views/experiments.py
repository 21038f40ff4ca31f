"""Experiments as they leave."""

from collections.abc import Mapping
from typing import Any, Literal, Self
from uuid import UUID

from pydantic import Field
from sqlalchemy.orm import Session

from api.views.base import Time, View
from store import experiments
from store.states import FINAL
from store.tables import Experiment, Job


class ExperimentLinks(View):
    """Where to go on from an experiment."""

    self: str
    result: str
    table: str
    cancel: str
    retry: str


class ExperimentRow(View):
    """An experiment as lists show it."""

    id: UUID
    kind: Literal["experiment"] = "experiment"
    name: str
    recipe: str | None = Field(description="null: a grid of one's own.")
    scale: str
    state: str = Field(description="queued, running, succeeded, failed or cancelled: its jobs' states together.")
    final: bool
    jobs: int
    counts: dict[str, int] = Field(description="State -> jobs.")
    project: str
    owner: str
    submitted_at: Time
    links: ExperimentLinks

    @classmethod
    def of(cls, experiment: Experiment, counts: Mapping[str, int]) -> Self:
        """The view of a row and its jobs' states."""
        return cls.model_validate(_members(experiment, counts))


class MemberView(View):
    """A job of an experiment, in few words."""

    id: UUID
    cells: list[str] = Field(description="table/row/seed[/evaluation[/part]]; equal cells share a job.")
    kind: str
    name: str
    state: str
    reason: str | None
    detail: str | None
    hint: str | None
    started_at: Time | None
    ended_at: Time | None
    waiting: dict[str, Any] | None
    progress: dict[str, Any] | None
    retry_of: UUID | None

    @classmethod
    def of(cls, job: Job, cells: list[str]) -> Self:
        """The view of a row."""
        return cls.model_validate({**{name: getattr(job, name, None) for name in cls.model_fields}, "cells": cells})


class ExperimentView(ExperimentRow):
    """One experiment with all its jobs, parents first."""

    spec: dict[str, Any]
    seeds: list[int]
    members: list[MemberView]

    @classmethod
    def whole(cls, session: Session, experiment: Experiment) -> Self:
        """The view of a row and what belongs to it."""
        counts = experiments.counts(session, [experiment.id])[experiment.id]
        members = [MemberView.of(job, cells) for job, cells in experiments.jobs_of(session, experiment)]
        more = {"spec": experiment.spec, "seeds": experiment.spec["seeds"], "members": members}
        return cls.model_validate(_members(experiment, counts) | more)


class RetriedView(ExperimentView):
    """An experiment after a retry, and the new jobs."""

    retried: list[UUID]


def _members(experiment: Experiment, counts: Mapping[str, int]) -> dict[str, Any]:
    state, here = experiments.state_of(counts), f"/experiments/{experiment.id}"
    columns = ("id", "name", "recipe", "scale", "project", "owner", "submitted_at")
    links = ExperimentLinks(
        self=here,
        result=f"/results/{experiment.id}",
        table=f"{here}/table",
        cancel=f"{here}/cancel",
        retry=f"{here}/retry",
    )
    told = {"state": str(state), "final": state in FINAL, "jobs": sum(counts.values()), "counts": dict(counts)}
    return {**{name: getattr(experiment, name) for name in columns}, **told, "links": links}
