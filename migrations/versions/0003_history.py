"""Scale as a column, and an index by which the scheduler finds how long the last jobs of a kind and scale took."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    scale = sa.Computed("coalesce(spec ->> 'scale', '')", persisted=True)
    op.add_column("jobs", sa.Column("scale", sa.Text(), scale, nullable=False))
    op.create_index(
        "ix_jobs_took",
        "jobs",
        ["kind", "scale", "ended_at"],
        unique=False,
        postgresql_where=sa.text("state = 'succeeded'"),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_jobs_took", table_name="jobs")
    op.drop_column("jobs", "scale")
