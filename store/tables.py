"""The tables. What may be done to them stands in the other modules; only migrations change them."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Computed,
    DateTime,
    Double,
    Enum,
    ForeignKey,
    Index,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from store.states import (
    FINAL,
    LIVE_PARTS,
    AttemptState,
    CheckpointState,
    DatasetState,
    Desired,
    DeviceKind,
    DeviceState,
    EdgeKind,
    JobState,
    NodeState,
    PartState,
    StopFor,
)

JSON = dict[str, Any]

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

NEVER = "'9999-01-01 00:00:00+00'::timestamptz"  # stands for the end of a job that has none yet
LABELS = ("split", "fold", "seed", "pool", "selection", "modality")  # what tells equal names of a result apart
LIVE_PART = f"state in ({', '.join(repr(state.value) for state in LIVE_PARTS)})"


def _enum(kind: type[StrEnum]) -> Enum:
    # Native enums break the second upgrade (CREATE TYPE exists); text with a CHECK does not.
    return Enum(
        kind, native_enum=False, length=16, create_constraint=True, values_callable=lambda e: [m.value for m in e]
    )


class Table(DeclarativeBase):
    """Base: naming convention, time zones, enums as text, JSON as jsonb."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text(),
        int: BigInteger(),
        float: Double(),
        datetime: DateTime(timezone=True),
        JSON: JSONB(none_as_null=True),
        dict[str, str]: JSONB(none_as_null=True),
        **{
            kind: _enum(kind)
            for kind in (
                JobState,
                AttemptState,
                PartState,
                Desired,
                StopFor,
                EdgeKind,
                NodeState,
                DeviceKind,
                DeviceState,
                CheckpointState,
                DatasetState,
            )
        },
    }


# Of tables that get many rows at once: to be told what the server filled in takes six times as long.
UNREAD: dict[str, Any] = {"eager_defaults": False}


def _id() -> Mapped[uuid.UUID]:
    return mapped_column(primary_key=True, default=uuid.uuid4)


def _now() -> Mapped[datetime]:
    return mapped_column(server_default=func.now())


class User(Table):
    """A person, or a service that has keys."""

    __tablename__ = "users"
    id: Mapped[uuid.UUID] = _id()
    name: Mapped[str] = mapped_column(unique=True)
    role: Mapped[str] = mapped_column(server_default="viewer")  # for the whole lab; a key may be narrower
    disabled: Mapped[bool] = mapped_column(server_default=text("false"))
    created_at: Mapped[datetime] = _now()


class Project(Table):
    """What jobs and datasets belong to."""

    __tablename__ = "projects"
    id: Mapped[uuid.UUID] = _id()
    name: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = _now()


class Quota(Table):
    """What a user or a project may have at most, and its weight in shares; null is without limit."""

    __tablename__ = "quotas"
    subject: Mapped[str] = mapped_column(primary_key=True)  # user:NAME or project:NAME
    max_gpus: Mapped[int | None]
    max_running: Mapped[int | None]
    max_queued: Mapped[int | None]
    share: Mapped[float] = mapped_column(server_default="1")
    __table_args__ = (
        CheckConstraint("subject ~ '^(user|project):.+'", name="subject"),
        CheckConstraint("share > 0", name="share"),
    )


class ApiKey(Table):
    """A key `cmac_<prefix>_<secret>`; only the secret's sha256 is kept."""

    __tablename__ = "api_keys"
    id: Mapped[uuid.UUID] = _id()
    user: Mapped[str] = mapped_column(ForeignKey("users.name", onupdate="CASCADE"))
    name: Mapped[str]
    prefix: Mapped[str] = mapped_column(unique=True)
    secret_sha256: Mapped[str]
    role: Mapped[str]
    scopes: Mapped[list[str] | None] = mapped_column(ARRAY(Text))  # null: all that the role may
    project: Mapped[str | None] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))  # null: every one
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    __table_args__ = (
        CheckConstraint("role in ('viewer', 'submitter', 'operator', 'admin')", name="role"),
        Index(None, "user"),
    )


class BrowserSession(Table):
    """Somebody who has signed in with a key; of the cookie's token only the sha256 is kept."""

    __tablename__ = "sessions"
    token_sha256: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("api_keys.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = _now()
    expires_at: Mapped[datetime]
    __table_args__ = (Index(None, "expires_at"), Index(None, "key_id"))


class Audit(Table):
    """Who wrote what, when. Append only: a trigger of the database refuses anything else."""

    __tablename__ = "audit"
    __mapper_args__ = UNREAD
    id: Mapped[uuid.UUID] = _id()
    at: Mapped[datetime] = _now()
    principal: Mapped[str]
    action: Mapped[str]
    target: Mapped[str]
    before: Mapped[JSON | None]
    after: Mapped[JSON | None]
    ip: Mapped[str | None]
    request_id: Mapped[str | None]
    __table_args__ = (Index(None, "at"), Index(None, "target"))


class Root(Table):
    """A named folder below which media may be read."""

    __tablename__ = "roots"
    id: Mapped[uuid.UUID] = _id()
    name: Mapped[str] = mapped_column(unique=True)
    path: Mapped[str]
    created_by: Mapped[str]
    created_at: Mapped[datetime] = _now()


class Job(Table):
    """One spec, one life. `state` is changed by `store.jobs.move` alone."""

    __tablename__ = "jobs"
    __mapper_args__ = UNREAD
    id: Mapped[uuid.UUID] = _id()
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
    submitted_at: Mapped[datetime] = _now()
    started_at: Mapped[datetime | None]  # of the first running attempt
    ended_at: Mapped[datetime | None]
    updated_at: Mapped[datetime] = _now()
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


class Experiment(Table):
    """A request that became many jobs. Its state is theirs; `outline` is the table that they fill."""

    __tablename__ = "experiments"
    id: Mapped[uuid.UUID] = _id()
    project: Mapped[str] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))
    owner: Mapped[str] = mapped_column(ForeignKey("users.name", onupdate="CASCADE"))
    name: Mapped[str] = mapped_column(server_default="")
    recipe: Mapped[str | None]  # null: a grid of one's own
    scale: Mapped[str]
    spec: Mapped[JSON]  # as validated at submit; never changed
    outline: Mapped[JSON]  # tables: rows, columns, the paper's numbers; read as it was written
    submitted_at: Mapped[datetime] = _now()
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


class Attempt(Table):
    """One try at running a job."""

    __tablename__ = "attempts"
    id: Mapped[uuid.UUID] = _id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    state: Mapped[AttemptState] = mapped_column(default=AttemptState.dispatched)
    reason: Mapped[str | None]
    detail: Mapped[str | None]
    hint: Mapped[str | None]
    exit_code: Mapped[int | None]
    desired: Mapped[Desired] = mapped_column(default=Desired.run)
    stop_for: Mapped[StopFor | None]
    stop_deadline: Mapped[datetime | None]
    go_at: Mapped[datetime | None]
    rdzv_endpoint: Mapped[str | None]
    inputs: Mapped[JSON | None]  # key -> {id, path, sha256}, as given to this attempt
    resume_step: Mapped[int | None]
    progress: Mapped[JSON | None]
    ended: Mapped[JSON | None]  # the Ended event, when the core wrote one
    versions: Mapped[JSON | None]  # of Started
    world_size: Mapped[int | None]
    replacements: Mapped[int] = mapped_column(server_default="0")  # clips that had to be replaced
    created_at: Mapped[datetime] = _now()
    running_at: Mapped[datetime | None]
    exited_at: Mapped[datetime | None]
    __table_args__ = (
        UniqueConstraint("job_id", "epoch"),
        Index(None, "exited_at"),
        Index("uq_attempts_live", "job_id", unique=True, postgresql_where=text("state <> 'exited'")),
    )


class Part(Table):
    """One machine's share of an attempt. The fence: every write of a supervisor begins with this row."""

    __tablename__ = "attempt_parts"
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True)
    part: Mapped[int] = mapped_column(primary_key=True, default=0)
    epoch: Mapped[int]
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("nodes.id"))
    state: Mapped[PartState] = mapped_column(default=PartState.dispatched)
    sends: Mapped[int] = mapped_column(server_default="1")
    dispatched_at: Mapped[datetime] = _now()  # of the newest send
    claimed_at: Mapped[datetime | None]
    ready_at: Mapped[datetime | None]
    pid: Mapped[int | None]
    pid_start: Mapped[int | None]  # start of the process in clock ticks since boot
    pid_ns: Mapped[int | None]  # inode of its pid namespace
    boot_id: Mapped[str | None]
    heartbeat_at: Mapped[datetime | None]
    events_offset: Mapped[int] = mapped_column(server_default="0")
    exit_code: Mapped[int | None]
    attempt: Mapped[Attempt] = relationship(lazy="raise", viewonly=True)
    __table_args__ = (
        Index("ix_attempt_parts_live", "node_id", postgresql_where=text(LIVE_PART)),
        CheckConstraint("events_offset >= 0", name="offset"),
    )


class Node(Table):
    """A machine with a worker."""

    __tablename__ = "nodes"
    id: Mapped[uuid.UUID] = _id()
    name: Mapped[str] = mapped_column(unique=True)
    state: Mapped[NodeState] = mapped_column(default=NodeState.ready)
    reason: Mapped[str | None]
    labels: Mapped[dict[str, str]] = mapped_column(server_default=text("'{}'::jsonb"))
    boot_id: Mapped[str | None]
    storage_id: Mapped[str | None]
    cpus: Mapped[int]
    memory_mb: Mapped[int]
    address: Mapped[str | None]
    versions: Mapped[JSON | None]
    unclaimed: Mapped[int] = mapped_column(server_default="0")  # launches in a row that nobody took up
    heartbeat_at: Mapped[datetime] = _now()
    created_at: Mapped[datetime] = _now()


class Device(Table):
    """A whole GPU or a CPU slot."""

    __tablename__ = "gpus"
    id: Mapped[uuid.UUID] = _id()
    node_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("nodes.id", ondelete="CASCADE"))
    kind: Mapped[DeviceKind]
    index: Mapped[int]
    uuid: Mapped[str | None]
    model: Mapped[str | None]
    memory_mb: Mapped[int | None]
    weight: Mapped[float] = mapped_column(server_default="1")
    state: Mapped[DeviceState] = mapped_column(default=DeviceState.ok)
    foreign: Mapped[JSON | None]  # pids and memory_mb that are not ours
    health: Mapped[JSON | None]  # use (%) and used_mb of a GPU, as its node saw them last
    __table_args__ = (
        UniqueConstraint("node_id", "kind", "index"),
        Index("uq_gpus_uuid", "uuid", unique=True, postgresql_where=text("kind = 'gpu'")),
    )


class DeviceLease(Table):
    """Who holds a device. The database itself refuses a second live lease of one."""

    __tablename__ = "gpu_leases"
    id: Mapped[uuid.UUID] = _id()
    gpu_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("gpus.id"))
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id"))
    part: Mapped[int] = mapped_column(default=0)
    epoch: Mapped[int]
    owner: Mapped[str]
    project: Mapped[str]
    weight: Mapped[float] = mapped_column(server_default="1")
    leased_at: Mapped[datetime] = _now()
    released_at: Mapped[datetime | None]
    __table_args__ = (
        Index("uq_gpu_leases_live", "gpu_id", unique=True, postgresql_where=text("released_at is null")),
        Index(None, "attempt_id"),
    )


class Leader(Table):
    """Who leads a loop, for how long. `term` rises when the holder changes."""

    __tablename__ = "leaders"
    name: Mapped[str] = mapped_column(String(32), primary_key=True)
    holder: Mapped[str]
    term: Mapped[int]
    renewed_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    pass_s: Mapped[float | None]  # seconds that its last pass took
    quiet_until: Mapped[datetime]  # nobody is declared lost before: the leader itself was away


class Webhook(Table):
    """A receiver that is told of events. Its secret signs what it gets, so it is kept as it is."""

    __tablename__ = "webhooks"
    id: Mapped[uuid.UUID] = _id()
    project: Mapped[str | None] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))  # null: every one
    owner: Mapped[str] = mapped_column(ForeignKey("users.name", onupdate="CASCADE"))
    url: Mapped[str]
    secret: Mapped[str]
    events: Mapped[list[str]] = mapped_column(ARRAY(Text))
    created_at: Mapped[datetime] = _now()
    failures: Mapped[int] = mapped_column(server_default="0")  # in a row
    failing_since: Mapped[datetime | None]
    not_before: Mapped[datetime | None]  # nothing is sent before, but for a test
    error: Mapped[str | None]  # of the last failure; null once something has arrived
    disabled_at: Mapped[datetime | None]
    __table_args__ = (Index(None, "owner"),)


class Outbox(Table):
    """A message that was committed with what it tells of; the relay sends it."""

    __tablename__ = "outbox"
    id: Mapped[uuid.UUID] = _id()
    kind: Mapped[str] = mapped_column(server_default="launch")
    queue: Mapped[str]  # of a launch; of a webhook the event's name
    payload: Mapped[JSON]
    webhook_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = _now()
    available_at: Mapped[datetime] = _now()
    sent_at: Mapped[datetime | None]
    gave_up_at: Mapped[datetime | None]
    sends: Mapped[int] = mapped_column(server_default="0")
    status: Mapped[int | None]  # that a webhook's receiver answered last
    error: Mapped[str | None]
    __table_args__ = (
        CheckConstraint("kind in ('launch', 'webhook')", name="kind"),
        CheckConstraint("(kind = 'webhook') = (webhook_id is not null)", name="webhook"),
        Index(
            "ix_outbox_pending",
            "kind",
            "available_at",
            postgresql_where=text("sent_at is null and gave_up_at is null"),
        ),
        Index("ix_outbox_webhook", "webhook_id", "created_at", postgresql_where=text("webhook_id is not null")),
    )


class IdempotencyKey(Table):
    """A request that creates, and the answer it got."""

    __tablename__ = "idempotency_keys"
    principal: Mapped[str] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(primary_key=True)
    fingerprint: Mapped[str]
    status: Mapped[int | None]
    headers: Mapped[dict[str, str] | None]
    body: Mapped[JSON | None]
    expires_at: Mapped[datetime]
    __table_args__ = (Index(None, "expires_at"),)


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


class Metric(Table):
    """One point of a curve. An epoch counts up to the next one's resume_step."""

    __tablename__ = "metrics"
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(primary_key=True)
    step: Mapped[int] = mapped_column(primary_key=True)
    epoch: Mapped[int] = mapped_column(primary_key=True)
    value: Mapped[float | None]  # null: was not finite
    train_epoch: Mapped[float | None]
    at: Mapped[datetime] = _now()


class Checkpoint(Table):
    """A saved state. It exists when this row does."""

    __tablename__ = "checkpoints"
    id: Mapped[uuid.UUID] = _id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    step: Mapped[int]
    train_epoch: Mapped[float]
    kind: Mapped[str]
    path: Mapped[str]  # absolute, of state.pt
    sha256: Mapped[str]
    bytes: Mapped[int]
    metrics: Mapped[JSON | None]
    state: Mapped[CheckpointState] = mapped_column(default=CheckpointState.ok)
    pinned_by: Mapped[str | None]
    created_at: Mapped[datetime] = _now()
    __table_args__ = (
        UniqueConstraint("job_id", "epoch", "step", "kind"),
        CheckConstraint("kind in ('full', 'weights')", name="kind"),
    )


class Artifact(Table):
    """A file that outlives its attempt; it stays in the attempt's folder."""

    __tablename__ = "artifacts"
    id: Mapped[uuid.UUID] = _id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"))
    attempt_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("attempts.id", ondelete="CASCADE"))
    epoch: Mapped[int]
    name: Mapped[str]
    kind: Mapped[str]
    media_type: Mapped[str]
    path: Mapped[str]  # absolute
    sha256: Mapped[str]
    bytes: Mapped[int]
    meta: Mapped[JSON] = mapped_column(server_default=text("'{}'::jsonb"))
    created_at: Mapped[datetime] = _now()
    __table_args__ = (UniqueConstraint("job_id", "epoch", "name"), Index(None, "sha256"))


class Result(Table):
    """What a job found out."""

    __tablename__ = "results"
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str]
    epoch: Mapped[int]
    protocol: Mapped[JSON]
    lineage: Mapped[JSON]
    created_at: Mapped[datetime] = _now()


class ResultValue(Table):
    """One number, never without its n. Unique over all its labels."""

    __tablename__ = "result_values"
    id: Mapped[uuid.UUID] = _id()
    job_id: Mapped[uuid.UUID] = mapped_column(ForeignKey("results.job_id", ondelete="CASCADE"))
    position: Mapped[int]
    name: Mapped[str]
    value: Mapped[float]
    unit: Mapped[str]
    n: Mapped[int]
    ci_low: Mapped[float | None]
    ci_high: Mapped[float | None]
    split: Mapped[str | None]
    fold: Mapped[str | None]
    seed: Mapped[int | None]
    pool: Mapped[str | None]
    selection: Mapped[str | None]
    modality: Mapped[str | None]
    paper: Mapped[float | None]
    random_init: Mapped[float | None]
    chance: Mapped[float | None]
    __table_args__ = (
        # Without NULLS NOT DISTINCT two equal rows went in (RULINGS 11).
        Index(
            "uq_result_values_labels",
            "job_id",
            "name",
            *LABELS,
            unique=True,
            postgresql_nulls_not_distinct=True,
        ),
    )


class Dataset(Table):
    """A packed dataset: a folder and the hash of its manifest."""

    __tablename__ = "datasets"
    id: Mapped[uuid.UUID] = _id()
    project: Mapped[str] = mapped_column(ForeignKey("projects.name", onupdate="CASCADE"))
    name: Mapped[str]
    version: Mapped[int]
    job_id: Mapped[uuid.UUID | None] = mapped_column(ForeignKey("jobs.id", ondelete="SET NULL"), unique=True)
    root: Mapped[str | None]
    path: Mapped[str]  # absolute
    manifest_sha256: Mapped[str]
    clips: Mapped[int]
    quarantined: Mapped[int]
    with_audio: Mapped[int]
    hours: Mapped[float]
    bytes: Mapped[int]
    media: Mapped[str]
    labels: Mapped[JSON]  # column -> number of different values
    counts: Mapped[JSON]  # split -> clips
    licence: Mapped[str | None]
    state: Mapped[DatasetState] = mapped_column(default=DatasetState.ok)
    created_at: Mapped[datetime] = _now()
    __table_args__ = (UniqueConstraint("name", "version"), CheckConstraint("media in ('video', 'audio')", name="media"))

    @property
    def reference(self) -> str:
        """NAME@VERSION, as specs name it."""
        return f"{self.name}@{self.version}"
