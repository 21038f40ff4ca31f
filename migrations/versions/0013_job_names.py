"""Jobs are found by how their names begin."""

from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_index("ix_jobs_name", "jobs", ["name"], postgresql_ops={"name": "text_pattern_ops"})


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index("ix_jobs_name", table_name="jobs")
