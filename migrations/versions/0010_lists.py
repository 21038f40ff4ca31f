"""Indexes for lists of jobs among a long history: by owner, state, reason, end and priority."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

ENDED = sa.text("coalesce(ended_at, '9999-01-01 00:00:00+00'::timestamptz)")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index("ix_jobs_owner_submitted_at_id", "jobs", ["owner", "submitted_at", "id"])
    op.create_index("ix_jobs_state_submitted_at_id", "jobs", ["state", "submitted_at", "id"])
    known = sa.text("reason is not null")
    op.create_index("ix_jobs_reason", "jobs", ["reason", "submitted_at", "id"], postgresql_where=known)
    op.create_index("ix_jobs_ended", "jobs", [ENDED, "id"])
    op.create_index("ix_jobs_state_ended", "jobs", ["state", ENDED, "id"])
    op.create_index("ix_jobs_priority_id", "jobs", ["priority", "id"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in ("priority_id", "state_ended", "ended", "reason", "state_submitted_at_id", "owner_submitted_at_id"):
        op.drop_index(f"ix_jobs_{name}", table_name="jobs")
