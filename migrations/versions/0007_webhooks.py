"""Receivers that are told of events; their deliveries are rows of the outbox; when an experiment was finished."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project", sa.Text(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("failures", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("failing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("not_before", sa.DateTime(timezone=True), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_webhooks_owner_users"), onupdate="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_webhooks_project_projects"), onupdate="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index(op.f("ix_webhooks_owner"), "webhooks", ["owner"])
    op.add_column("outbox", sa.Column("webhook_id", sa.Uuid(), nullable=True))
    op.add_column("outbox", sa.Column("gave_up_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column("outbox", sa.Column("status", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        op.f("fk_outbox_webhook_id_webhooks"), "outbox", "webhooks", ["webhook_id"], ["id"], ondelete="CASCADE"
    )
    op.create_check_constraint(op.f("ck_outbox_webhook"), "outbox", "(kind = 'webhook') = (webhook_id is not null)")
    op.drop_index("ix_outbox_pending", table_name="outbox")
    pending = sa.text("sent_at is null and gave_up_at is null")
    op.create_index("ix_outbox_pending", "outbox", ["kind", "available_at"], postgresql_where=pending)
    of_webhook = sa.text("webhook_id is not null")
    op.create_index("ix_outbox_webhook", "outbox", ["webhook_id", "created_at"], postgresql_where=of_webhook)
    op.add_column("experiments", sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True))
    unfinished = sa.text("finished_at is null")
    op.create_index("ix_experiments_unfinished", "experiments", ["id"], postgresql_where=unfinished)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_experiments_unfinished", table_name="experiments")
    op.drop_column("experiments", "finished_at")
    op.execute("DELETE FROM outbox WHERE kind = 'webhook'")
    op.drop_index("ix_outbox_webhook", table_name="outbox")
    op.drop_index("ix_outbox_pending", table_name="outbox")
    op.create_index("ix_outbox_pending", "outbox", ["available_at"], postgresql_where=sa.text("sent_at is null"))
    op.drop_constraint(op.f("ck_outbox_webhook"), "outbox")
    for column in ("status", "gave_up_at", "webhook_id"):
        op.drop_column("outbox", column)
    op.drop_table("webhooks")
