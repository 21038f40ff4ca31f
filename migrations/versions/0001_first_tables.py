"""The tables of the first end-to-end run."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False),
        sa.Column("before", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("after", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("ip", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_target"), "audit", ["target"], unique=False)
    op.create_table(
        "idempotency_keys",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=False),
        sa.Column("status", sa.BigInteger(), nullable=True),
        sa.Column("headers", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("body", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("principal", "key", name=op.f("pk_idempotency_keys")),
    )
    op.create_index(op.f("ix_idempotency_keys_expires_at"), "idempotency_keys", ["expires_at"], unique=False)
    op.create_table(
        "leaders",
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("term", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("quiet_until", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leaders")),
    )
    op.create_table(
        "nodes",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "ready",
                "cordoned",
                "draining",
                "lost",
                name="nodestate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column(
            "labels",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("boot_id", sa.Text(), nullable=True),
        sa.Column("storage_id", sa.Text(), nullable=True),
        sa.Column("cpus", sa.BigInteger(), nullable=False),
        sa.Column("memory_mb", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=True),
        sa.Column("versions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("unclaimed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_nodes")),
        sa.UniqueConstraint("name", name=op.f("uq_nodes_name")),
    )
    op.create_table(
        "outbox",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), server_default="launch", nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("payload", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("available_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sends", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.CheckConstraint("kind in ('launch', 'webhook')", name=op.f("ck_outbox_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
    )
    op.create_index(
        "ix_outbox_pending", "outbox", ["available_at"], unique=False, postgresql_where=sa.text("sent_at is null")
    )
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
        sa.UniqueConstraint("name", name=op.f("uq_projects_name")),
    )
    op.create_table(
        "roots",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_roots")),
        sa.UniqueConstraint("name", name=op.f("uq_roots_name")),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="viewer", nullable=False),
        sa.Column("disabled", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("secret_sha256", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role in ('viewer', 'submitter', 'operator', 'admin')", name=op.f("ck_api_keys_role")),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_api_keys_project_projects"), onupdate="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user"], ["users.name"], name=op.f("fk_api_keys_user_users"), onupdate="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("prefix", name=op.f("uq_api_keys_prefix")),
    )
    op.create_index(op.f("ix_api_keys_user"), "api_keys", ["user"], unique=False)
    op.create_table(
        "gpus",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("gpu", "cpu", name="devicekind", native_enum=False, create_constraint=True, length=16),
            nullable=False,
        ),
        sa.Column("index", sa.BigInteger(), nullable=False),
        sa.Column("uuid", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("memory_mb", sa.BigInteger(), nullable=True),
        sa.Column("weight", sa.Double(), server_default="1", nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "ok",
                "cordoned",
                "ghost",
                "missing",
                name="devicestate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("foreign", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("health", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_gpus_node_id_nodes"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpus")),
        sa.UniqueConstraint("node_id", "kind", "index", name=op.f("uq_gpus_node_id_kind_index")),
    )
    op.create_index("uq_gpus_uuid", "gpus", ["uuid"], unique=True, postgresql_where=sa.text("kind = 'gpu'"))
    op.create_table(
        "jobs",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("spec_sha256", sa.Text(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "held",
                "blocked",
                "queued",
                "scheduled",
                "running",
                "stopping",
                "paused",
                "succeeded",
                "failed",
                "cancelled",
                name="jobstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("log_tail", sa.Text(), nullable=True),
        sa.Column(
            "stop_for",
            sa.Enum(
                "cancel",
                "pause",
                "preempt",
                "drain",
                name="stopfor",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=True,
        ),
        sa.Column("ended_by", sa.Text(), nullable=True),
        sa.Column("priority", sa.BigInteger(), nullable=False),
        sa.Column(
            "labels",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("gpus", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("cpu_slots", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("max_restarts", sa.BigInteger(), server_default="2", nullable=False),
        sa.Column("grace_s", sa.Double(), server_default="120", nullable=False),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("submitted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("event_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("live", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("user_restarts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("infra_restarts", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("infra_without_progress", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("rejections", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("resume_checkpoint", sa.Uuid(), nullable=True),
        sa.Column("waiting", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("progress", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("retry_of", sa.Uuid(), nullable=True),
        sa.Column("dataset_id", sa.Uuid(), nullable=True),
        sa.Column("checkpoint_id", sa.Uuid(), nullable=True),
        sa.Column("checkpoint_job", sa.Uuid(), nullable=True),
        sa.Column("git_sha", sa.Text(), nullable=True),
        sa.Column("lock_sha256", sa.Text(), nullable=True),
        sa.Column("seed", sa.BigInteger(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["checkpoint_job"], ["jobs.id"], name=op.f("fk_jobs_checkpoint_job_jobs")),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_jobs_owner_users"), onupdate="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_jobs_project_projects"), onupdate="CASCADE"
        ),
        sa.ForeignKeyConstraint(["retry_of"], ["jobs.id"], name=op.f("fk_jobs_retry_of_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index(op.f("ix_jobs_checkpoint_id"), "jobs", ["checkpoint_id"], unique=False)
    op.create_index(op.f("ix_jobs_checkpoint_job"), "jobs", ["checkpoint_job"], unique=False)
    op.create_index(op.f("ix_jobs_dataset_id"), "jobs", ["dataset_id"], unique=False)
    op.create_index(op.f("ix_jobs_labels"), "jobs", ["labels"], unique=False, postgresql_using="gin")
    op.create_index(op.f("ix_jobs_project_submitted_at_id"), "jobs", ["project", "submitted_at", "id"], unique=False)
    op.create_index(
        "ix_jobs_queued",
        "jobs",
        ["priority", "submitted_at", "id"],
        unique=False,
        postgresql_where=sa.text("state = 'queued'"),
    )
    op.create_index(op.f("ix_jobs_spec_sha256"), "jobs", ["spec_sha256"], unique=False)
    op.create_index(op.f("ix_jobs_submitted_at_id"), "jobs", ["submitted_at", "id"], unique=False)
    op.create_index(
        "ix_jobs_unfinished",
        "jobs",
        ["state"],
        unique=False,
        postgresql_where=sa.text("state not in ('cancelled', 'failed', 'succeeded')"),
    )
    op.create_index(
        "uq_jobs_retry_of",
        "jobs",
        ["retry_of"],
        unique=True,
        postgresql_where=sa.text("state not in ('succeeded', 'failed', 'cancelled')"),
    )
    op.create_table(
        "attempts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "dispatched",
                "starting",
                "running",
                "stopping",
                "exited",
                name="attemptstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("hint", sa.Text(), nullable=True),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.Column(
            "desired",
            sa.Enum("run", "stop", name="desired", native_enum=False, create_constraint=True, length=16),
            nullable=False,
        ),
        sa.Column(
            "stop_for",
            sa.Enum(
                "cancel",
                "pause",
                "preempt",
                "drain",
                name="stopfor",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=True,
        ),
        sa.Column("stop_deadline", sa.DateTime(timezone=True), nullable=True),
        sa.Column("go_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("rdzv_endpoint", sa.Text(), nullable=True),
        sa.Column("inputs", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("resume_step", sa.BigInteger(), nullable=True),
        sa.Column("progress", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("ended", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("versions", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column("world_size", sa.BigInteger(), nullable=True),
        sa.Column("replacements", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("running_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("exited_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_attempts_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("job_id", "epoch", name=op.f("uq_attempts_job_id_epoch")),
    )
    op.create_index(
        "uq_attempts_live", "attempts", ["job_id"], unique=True, postgresql_where=sa.text("state <> 'exited'")
    )
    op.create_table(
        "datasets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=True),
        sa.Column("root", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("manifest_sha256", sa.Text(), nullable=False),
        sa.Column("clips", sa.BigInteger(), nullable=False),
        sa.Column("quarantined", sa.BigInteger(), nullable=False),
        sa.Column("with_audio", sa.BigInteger(), nullable=False),
        sa.Column("hours", sa.Double(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("media", sa.Text(), nullable=False),
        sa.Column("labels", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("counts", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("licence", sa.Text(), nullable=True),
        sa.Column(
            "state",
            sa.Enum("ok", "archived", name="datasetstate", native_enum=False, create_constraint=True, length=16),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("media in ('video', 'audio')", name=op.f("ck_datasets_media")),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_datasets_job_id_jobs"), ondelete="SET NULL"),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_datasets_project_projects"), onupdate="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_datasets")),
        sa.UniqueConstraint("job_id", name=op.f("uq_datasets_job_id")),
        sa.UniqueConstraint("name", "version", name=op.f("uq_datasets_name_version")),
    )
    op.create_table(
        "events",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column(
            "tx", sa.BigInteger(), server_default=sa.text("(pg_current_xact_id()::text)::bigint"), nullable=False
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_events_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "seq", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_tx"), "events", ["tx"], unique=False)
    op.create_table(
        "job_edges",
        sa.Column("child", sa.Uuid(), nullable=False),
        sa.Column("parent", sa.Uuid(), nullable=False),
        sa.Column(
            "kind",
            sa.Enum("afterok", "afterany", name="edgekind", native_enum=False, create_constraint=True, length=16),
            nullable=False,
        ),
        sa.ForeignKeyConstraint(["child"], ["jobs.id"], name=op.f("fk_job_edges_child_jobs"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["parent"], ["jobs.id"], name=op.f("fk_job_edges_parent_jobs")),
        sa.PrimaryKeyConstraint("child", "parent", name=op.f("pk_job_edges")),
    )
    op.create_index(op.f("ix_job_edges_parent"), "job_edges", ["parent"], unique=False)
    op.create_table(
        "metrics",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("train_epoch", sa.Double(), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_metrics_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", "name", "step", "epoch", name=op.f("pk_metrics")),
    )
    op.create_table(
        "results",
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("protocol", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("lineage", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_results_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_results")),
    )
    op.create_table(
        "artifacts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column(
            "meta",
            postgresql.JSONB(none_as_null=True, astext_type=sa.Text()),
            server_default=sa.text("'{}'::jsonb"),
            nullable=False,
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_artifacts_attempt_id_attempts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_artifacts_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_artifacts")),
        sa.UniqueConstraint("job_id", "epoch", "name", name=op.f("uq_artifacts_job_id_epoch_name")),
    )
    op.create_index(op.f("ix_artifacts_sha256"), "artifacts", ["sha256"], unique=False)
    op.create_table(
        "attempt_parts",
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("node_id", sa.Uuid(), nullable=False),
        sa.Column(
            "state",
            sa.Enum(
                "dispatched",
                "starting",
                "ready",
                "running",
                "stopping",
                "exited",
                "lost",
                name="partstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("sends", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column("dispatched_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("claimed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ready_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("pid", sa.BigInteger(), nullable=True),
        sa.Column("pid_start", sa.BigInteger(), nullable=True),
        sa.Column("pid_ns", sa.BigInteger(), nullable=True),
        sa.Column("boot_id", sa.Text(), nullable=True),
        sa.Column("heartbeat_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("events_offset", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("exit_code", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("events_offset >= 0", name=op.f("ck_attempt_parts_offset")),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_attempt_parts_attempt_id_attempts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["node_id"], ["nodes.id"], name=op.f("fk_attempt_parts_node_id_nodes")),
        sa.PrimaryKeyConstraint("attempt_id", "part", name=op.f("pk_attempt_parts")),
    )
    op.create_index(
        "ix_attempt_parts_live",
        "attempt_parts",
        ["node_id"],
        unique=False,
        postgresql_where=sa.text("state in ('dispatched', 'starting', 'ready', 'running', 'stopping')"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("step", sa.BigInteger(), nullable=False),
        sa.Column("train_epoch", sa.Double(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("metrics", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=True),
        sa.Column(
            "state",
            sa.Enum(
                "ok",
                "bad",
                "deleting",
                "deleted",
                name="checkpointstate",
                native_enum=False,
                create_constraint=True,
                length=16,
            ),
            nullable=False,
        ),
        sa.Column("pinned_by", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind in ('full', 'weights')", name=op.f("ck_checkpoints_kind")),
        sa.ForeignKeyConstraint(
            ["attempt_id"], ["attempts.id"], name=op.f("fk_checkpoints_attempt_id_attempts"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_checkpoints_job_id_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_checkpoints")),
        sa.UniqueConstraint("job_id", "epoch", "step", "kind", name=op.f("uq_checkpoints_job_id_epoch_step_kind")),
    )
    op.create_table(
        "gpu_leases",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("gpu_id", sa.Uuid(), nullable=False),
        sa.Column("attempt_id", sa.Uuid(), nullable=False),
        sa.Column("part", sa.BigInteger(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("weight", sa.Double(), server_default="1", nullable=False),
        sa.Column("leased_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("released_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["attempt_id"], ["attempts.id"], name=op.f("fk_gpu_leases_attempt_id_attempts")),
        sa.ForeignKeyConstraint(["gpu_id"], ["gpus.id"], name=op.f("fk_gpu_leases_gpu_id_gpus")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gpu_leases")),
    )
    op.create_index(op.f("ix_gpu_leases_attempt_id"), "gpu_leases", ["attempt_id"], unique=False)
    op.create_index(
        "uq_gpu_leases_live", "gpu_leases", ["gpu_id"], unique=True, postgresql_where=sa.text("released_at is null")
    )
    op.create_table(
        "result_values",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("ci_low", sa.Double(), nullable=True),
        sa.Column("ci_high", sa.Double(), nullable=True),
        sa.Column("split", sa.Text(), nullable=True),
        sa.Column("fold", sa.Text(), nullable=True),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("pool", sa.Text(), nullable=True),
        sa.Column("selection", sa.Text(), nullable=True),
        sa.Column("modality", sa.Text(), nullable=True),
        sa.Column("paper", sa.Double(), nullable=True),
        sa.Column("random_init", sa.Double(), nullable=True),
        sa.Column("chance", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["job_id"], ["results.job_id"], name=op.f("fk_result_values_job_id_results"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_result_values")),
    )
    op.create_index(
        "uq_result_values_labels",
        "result_values",
        ["job_id", "name", "split", "fold", "seed", "pool", "selection", "modality"],
        unique=True,
        postgresql_nulls_not_distinct=True,
    )
    # Jobs and these two refer to each other, so one side comes last.
    op.create_foreign_key("fk_jobs_checkpoint_id_checkpoints", "jobs", "checkpoints", ["checkpoint_id"], ["id"])
    op.create_foreign_key("fk_jobs_dataset_id_datasets", "jobs", "datasets", ["dataset_id"], ["id"])
    op.create_foreign_key(
        "fk_jobs_resume_checkpoint_checkpoints",
        "jobs",
        "checkpoints",
        ["resume_checkpoint"],
        ["id"],
        ondelete="SET NULL",
    )


def downgrade() -> None:
    op.drop_constraint("fk_jobs_checkpoint_id_checkpoints", "jobs", type_="foreignkey")
    op.drop_constraint("fk_jobs_dataset_id_datasets", "jobs", type_="foreignkey")
    op.drop_constraint("fk_jobs_resume_checkpoint_checkpoints", "jobs", type_="foreignkey")
    op.drop_index("uq_result_values_labels", table_name="result_values", postgresql_nulls_not_distinct=True)
    op.drop_table("result_values")
    op.drop_index("uq_gpu_leases_live", table_name="gpu_leases", postgresql_where=sa.text("released_at is null"))
    op.drop_index(op.f("ix_gpu_leases_attempt_id"), table_name="gpu_leases")
    op.drop_table("gpu_leases")
    op.drop_table("checkpoints")
    op.drop_index(
        "ix_attempt_parts_live",
        table_name="attempt_parts",
        postgresql_where=sa.text("state in ('dispatched', 'starting', 'ready', 'running', 'stopping')"),
    )
    op.drop_table("attempt_parts")
    op.drop_index(op.f("ix_artifacts_sha256"), table_name="artifacts")
    op.drop_table("artifacts")
    op.drop_table("results")
    op.drop_table("metrics")
    op.drop_index(op.f("ix_job_edges_parent"), table_name="job_edges")
    op.drop_table("job_edges")
    op.drop_index(op.f("ix_events_tx"), table_name="events")
    op.drop_table("events")
    op.drop_table("datasets")
    op.drop_index("uq_attempts_live", table_name="attempts", postgresql_where=sa.text("state <> 'exited'"))
    op.drop_table("attempts")
    op.drop_index(
        "uq_jobs_retry_of",
        table_name="jobs",
        postgresql_where=sa.text("state not in ('succeeded', 'failed', 'cancelled')"),
    )
    op.drop_index(
        "ix_jobs_unfinished",
        table_name="jobs",
        postgresql_where=sa.text("state not in ('cancelled', 'failed', 'succeeded')"),
    )
    op.drop_index(op.f("ix_jobs_submitted_at_id"), table_name="jobs")
    op.drop_index(op.f("ix_jobs_spec_sha256"), table_name="jobs")
    op.drop_index("ix_jobs_queued", table_name="jobs", postgresql_where=sa.text("state = 'queued'"))
    op.drop_index(op.f("ix_jobs_project_submitted_at_id"), table_name="jobs")
    op.drop_index(op.f("ix_jobs_labels"), table_name="jobs", postgresql_using="gin")
    op.drop_index(op.f("ix_jobs_dataset_id"), table_name="jobs")
    op.drop_index(op.f("ix_jobs_checkpoint_job"), table_name="jobs")
    op.drop_index(op.f("ix_jobs_checkpoint_id"), table_name="jobs")
    op.drop_table("jobs")
    op.drop_index("uq_gpus_uuid", table_name="gpus", postgresql_where=sa.text("kind = 'gpu'"))
    op.drop_table("gpus")
    op.drop_index(op.f("ix_api_keys_user"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("users")
    op.drop_table("roots")
    op.drop_table("projects")
    op.drop_index("ix_outbox_pending", table_name="outbox", postgresql_where=sa.text("sent_at is null"))
    op.drop_table("outbox")
    op.drop_table("nodes")
    op.drop_table("leaders")
    op.drop_index(op.f("ix_idempotency_keys_expires_at"), table_name="idempotency_keys")
    op.drop_table("idempotency_keys")
    op.drop_index(op.f("ix_audit_target"), table_name="audit")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
