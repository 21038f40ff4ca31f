"""An index by which the scheduler finds how long the last jobs of a kind and scale took."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index(
        "ix_jobs_took",
        "jobs",
        ["kind", sa.literal_column("coalesce(spec ->> 'scale', '')"), "ended_at"],
        unique=False,
        postgresql_where=sa.text("state = 'succeeded'"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_jobs_took", table_name="jobs")
