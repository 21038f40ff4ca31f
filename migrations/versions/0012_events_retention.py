"""When retention removed a job's events."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("jobs", sa.Column("events_removed_at", sa.DateTime(timezone=True), nullable=True))
    with_events = sa.text("events_removed_at is null")
    op.create_index("ix_jobs_with_events", "jobs", ["ended_at"], postgresql_where=with_events)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_jobs_with_events", table_name="jobs")
    op.drop_column("jobs", "events_removed_at")
