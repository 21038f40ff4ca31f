"""Jobs over several nodes, and the nodes that a job may go to."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    labels = postgresql.JSONB(none_as_null=True, astext_type=sa.Text())
    op.add_column("jobs", sa.Column("nodes", sa.BigInteger(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("gpu_model", sa.Text(), nullable=True))
    op.add_column("jobs", sa.Column("node_labels", labels, server_default=sa.text("'{}'::jsonb"), nullable=False))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # What jobs asked for stays in their specs.
    for column in ("node_labels", "gpu_model", "nodes"):
        op.drop_column("jobs", column)
