"""What retention has done to a job, and what a key is for."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TIMES = ("logs_removed_at", "curves_thinned_at", "deleted_at", "files_removed_at")


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    for name in TIMES:
        op.add_column("jobs", sa.Column(name, sa.DateTime(timezone=True), nullable=True))
    op.create_index(op.f("ix_jobs_resume_checkpoint"), "jobs", ["resume_checkpoint"])
    for name, column in (("ix_jobs_with_logs", "logs_removed_at"), ("ix_jobs_with_curves", "curves_thinned_at")):
        op.create_index(name, "jobs", ["ended_at"], postgresql_where=sa.text(f"{column} is null"))
    unfinished = sa.text("deleted_at is not null and files_removed_at is null")
    op.create_index("ix_jobs_deleted", "jobs", ["ended_at"], postgresql_where=unfinished)
    op.add_column("api_keys", sa.Column("scopes", postgresql.ARRAY(sa.Text()), nullable=True))


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    # Without scopes a key may all that its role may: it is shut instead.
    op.execute("UPDATE api_keys SET revoked_at = now() WHERE scopes IS NOT NULL AND revoked_at IS NULL")
    op.drop_column("api_keys", "scopes")
    for name in ("ix_jobs_deleted", "ix_jobs_with_curves", "ix_jobs_with_logs", op.f("ix_jobs_resume_checkpoint")):
        op.drop_index(name, table_name="jobs")
    for name in TIMES:
        op.drop_column("jobs", name)
