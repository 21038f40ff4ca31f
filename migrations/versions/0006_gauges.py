"""What the dashboard reads: how long a pass took, and indexes to recent starts and ends."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("leaders", sa.Column("pass_s", sa.Double(), nullable=True))
    op.create_index("ix_jobs_started_at", "jobs", ["started_at"])
    op.create_index("ix_attempts_exited_at", "attempts", ["exited_at"])


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_attempts_exited_at", table_name="attempts")
    op.drop_index("ix_jobs_started_at", table_name="jobs")
    op.drop_column("leaders", "pass_s")
