"""Jobs, what they wait for, what happened to them, and the experiments that made them."""

import uuid
from datetime import datetime

from sqlalchemy import Computed, ForeignKey, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from store.states import FINAL, EdgeKind, JobState, StopFor
from store.tables.base import JSON, UNREAD, Table, now, own_id

NEVER = "'9999-01-01 00:00:00+00'::timestamptz"  # stands for the end of a job that has none yet


class Job(Table):
    """One spec, one life. `state` is changed by `store.moves.move` alone."""

    __tablename__ = "jobs"
    __mapper_args__ = UNREAD
    id: Mapped[uuid.UUID] = own_id()
    project: Mapped[str] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))
    owner: Mapped[str] = mapped_column(ForeignKey("users.name", onupdate="CASCADE"))
    name: Mapped[str] = mapped_column(server_default="")
    kind: Mapped[str]
    spec: Mapped[JSON]  # as validated at submit, presets expanded, names resolved; never changed
    sent: Mapped[JSON | None]  # the spec as somebody wrote it; null for jobs of an experiment
    spec_sha256: Mapped[str]
    state: Mapped[JobState]
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    hint: Mapped[str | None]
    log_tail: Mapped[str | None]
    stop_for: Mapped[StopFor | None]
    ended_by: Mapped[str | None]  # who asked for the cancel
    priority: Mapped[int]  # rank of the tier: 0 is urgent
    labels: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'::jsonb"))
    # Of the spec, which is too large to be unpacked for every job in every pass.
    scale: Mapped[str] = mapped_column(Computed("coalesce(spec ->> 'scale', '')", persisted=True))
    gpus: Mapped[int] = mapped_column(server_default="0")
    cpu_slots: Mapped[int] = mapped_column(server_default="0")
    nodes: Mapped[int] = mapped_column(server_default="1")  # that share its devices in equal parts
    gpu_model: Mapped[str | None]  # what the name of their GPUs' model holds
    node_labels: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'::jsonb"))  # that they must have
    max_restarts: Mapped[int] = mapped_column(server_default="2")
    grace_s: Mapped[float] = mapped_column(server_default="120")
    walltime_s: Mapped[float | None]  # running time that it may have in all
    used_s: Mapped[float] = mapped_column(server_default="0")  # of it, by attempts that are over
    not_before: Mapped[datetime | None]
    submitted_at: Mapped[datetime] = now()
    started_at: Mapped[datetime | None]  # of the first running attempt
    ended_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = now()
    logs_removed_at: Mapped[datetime | None]  # by retention
    curves_thinned_at: Mapped[datetime | None]
    events_removed_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]  # by a person: nobody sees it any more
    files_removed_at: Mapped[datetime | None]  # of a deleted one
    epoch: Mapped[int] = mapped_column(server_default="0")  # fencing number: + 1 at every placement
    event_seq: Mapped[int] = mapped_column(server_default="0")
    version: Mapped[int] = mapped_column(server_default="1")  # rises with the row (If-Match)
    live: Mapped[int] = mapped_column(server_default="0")  # rises with progress and the waiting text
    user_restarts: Mapped[int] = mapped_column(server_default="0")
    infra_restarts: Mapped[int] = mapped_column(server_default="0")
    infra_without_progress: Mapped[int] = mapped_column(server_default="0")
    rejections: Mapped[int] = mapped_column(server_default="0")  # launches refused in a row
    resume_checkpoint: Mapped[uuid.UUID | None] = mapped_column(
        ForeignKey("checkpoints.id", use_alter=True, ondelete="SET NULL")
    )
    waiting: Mapped[JSON | None]  # code, text, expected_start
    progress: Mapped[JSON | None]  # phase, step, of, rate, unit, eta_s of the newest attempt
    retry_of: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id"))
    dataset_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("datasets.id", use_alter=True))
    checkpoint_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("checkpoints.id", use_alter=True))
    checkpoint_job: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id"))
    git_sha: Mapped[str | None]
    lock_sha256: Mapped[str | None]
    seed: Mapped[int] = mapped_column(server_default="0")
    __table_args__ = (
        # NULLS DISTINCT is right here: any number of jobs are no retry.
        Index(
            "uq_jobs_retry_of",
            "retry_of",
            unique=True,
            postgresql_where=text("state not in ('succeeded', 'failed', 'cancelled')"),
        ),
        Index("ix_jobs_queued", "priority", "submitted_at", "id", postgresql_where=text("state = 'queued'")),
        # How long the last jobs like one took.
        Index(
            "ix_jobs_took",
            "kind",
            "scale",
            "ended_at",
            postgresql_where=text("state = 'succeeded'"),
        ),
        Index(
            "ix_jobs_unfinished",
            "state",
            postgresql_where=text(f"state not in ({', '.join(repr(s.value) for s in sorted(FINAL))})"),
        ),
        Index(None, "submitted_at", "id"),
        Index(None, "started_at"),
        # What lists are filtered and ordered by; without them a page of a few rows is looked for among all.
        Index(None, "project", "submitted_at", "id"),
        Index(None, "owner", "submitted_at", "id"),
        Index(None, "state", "submitted_at", "id"),
        Index("ix_jobs_reason", "reason", "submitted_at", "id", postgresql_where=text("reason is not null")),
        Index("ix_jobs_name", "name", postgresql_ops={"name": "text_pattern_ops"}),  # by how it begins
        Index("ix_jobs_ended", text(f"coalesce(ended_at, {NEVER})"), "id"),
        Index("ix_jobs_state_ended", "state", text(f"coalesce(ended_at, {NEVER})"), "id"),
        Index(None, "priority", "id"),
        Index(None, "spec_sha256"),
        Index(None, "dataset_id"),
        Index(None, "checkpoint_id"),
        Index(None, "checkpoint_job"),
        Index(None, "resume_checkpoint"),
        Index("ix_jobs_with_logs", "ended_at", postgresql_where=text("logs_removed_at is null")),
        Index("ix_jobs_with_curves", "ended_at", postgresql_where=text("curves_thinned_at is null")),
        Index("ix_jobs_with_events", "ended_at", postgresql_where=text("events_removed_at is null")),
        Index(
            "ix_jobs_deleted",
            "ended_at",
            postgresql_where=text("deleted_at is not null and files_removed_at is null"),
        ),
        Index(None, "labels", postgresql_using="gin"),
    )


class JobEdge(Table):
    """`child` waits for `parent`. Born with the child, so no cycle can form."""

    __tablename__ = "job_edges"
    child: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    parent: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    kind: Mapped[EdgeKind]
    __table_args__ = (Index(None, "parent"),)


class JobEvent(Table):
    """What happened to a job: gapless and in commit order, since `seq` is given under the job's lock."""

    __tablename__ = "events"
    __mapper_args__ = UNREAD
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    seq: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())
    type: Mapped[str]
    actor: Mapped[str]
    data: Mapped[JSON]
    tx: Mapped[int] = mapped_column(server_default=text("(pg_current_xact_id()::text)::bigint"))
    __table_args__ = (Index(None, "tx"),)


class Experiment(Table):
    """A request that became many jobs. Its state is theirs; `outline` is the table that they fill."""

    __tablename__ = "experiments"
    id: Mapped[uuid.UUID] = own_id()
    project: Mapped[str] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))
    owner: Mapped[str] = mapped_column(ForeignKey("users.name", onupdate="CASCADE"))
    name: Mapped[str] = mapped_column(server_default="")
    recipe: Mapped[str | None]  # null: a grid of one's own
    scale: Mapped[str]
    spec: Mapped[JSON]  # as validated at submit; never changed
    outline: Mapped[JSON]  # tables: rows, columns, the paper's numbers; read as it was written
    submitted_at: Mapped[datetime] = now()
    finished_at: Mapped[datetime | None]  # all its jobs were seen to be final; a retry takes it back
    __table_args__ = (
        Index(None, "submitted_at", "id"),
        Index(None, "project", "submitted_at", "id"),
        Index("ix_experiments_unfinished", "id", postgresql_where=text("finished_at is null")),
    )


class Cell(Table):
    """One place in an experiment's table. It points to its newest job; equal places share one."""

    __tablename__ = "cells"
    __mapper_args__ = UNREAD
    experiment_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("experiments.id", ondelete="CASCADE"), primary_key=True)
    cell: Mapped[str] = mapped_column(primary_key=True)  # table/row/seed[/evaluation[/part]]
    position: Mapped[int]
    table: Mapped[str]
    row: Mapped[str]
    seed: Mapped[int]
    evaluation: Mapped[str] = mapped_column(server_default="")  # empty: the row's own job
    part: Mapped[str] = mapped_column(server_default="")
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id"))
    __table_args__ = (Index(None, "job_id"),)
