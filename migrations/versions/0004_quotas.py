"""Limits and shares of users and projects."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "quotas",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("max_gpus", sa.BigInteger(), nullable=True),
        sa.Column("max_running", sa.BigInteger(), nullable=True),
        sa.Column("max_queued", sa.BigInteger(), nullable=True),
        sa.Column("share", sa.Float(), server_default="1", nullable=False),
        sa.CheckConstraint("subject ~ '^(user|project):.+'", name=op.f("ck_quotas_subject")),
        sa.CheckConstraint("share > 0", name=op.f("ck_quotas_share")),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_quotas")),
    )


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_table("quotas")
