"""How long a job may run in all, and what it has used of that."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.add_column("jobs", sa.Column("walltime_s", sa.Double(), nullable=True))
    op.add_column("jobs", sa.Column("used_s", sa.Double(), server_default="0", nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_column("jobs", "used_s")
    op.drop_column("jobs", "walltime_s")
