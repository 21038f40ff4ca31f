"""Experiments and their cells."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.create_table(
        "experiments",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("recipe", sa.Text(), nullable=True),
        sa.Column("scale", sa.Text(), nullable=False),
        sa.Column("spec", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("outline", postgresql.JSONB(none_as_null=True, astext_type=sa.Text()), nullable=False),
        sa.Column("submitted_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(["owner"], ["users.name"], name=op.f("fk_experiments_owner_users"), onupdate="CASCADE"),
        sa.ForeignKeyConstraint(
            ["project"], ["projects.name"], name=op.f("fk_experiments_project_projects"), onupdate="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_experiments")),
    )
    op.create_index(op.f("ix_experiments_submitted_at_id"), "experiments", ["submitted_at", "id"], unique=False)
    op.create_index(
        op.f("ix_experiments_project_submitted_at_id"), "experiments", ["project", "submitted_at", "id"], unique=False
    )
    op.create_table(
        "cells",
        sa.Column("experiment_id", sa.Uuid(), nullable=False),
        sa.Column("cell", sa.Text(), nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("table", sa.Text(), nullable=False),
        sa.Column("row", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("evaluation", sa.Text(), server_default="", nullable=False),
        sa.Column("part", sa.Text(), server_default="", nullable=False),
        sa.Column("job_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(
            ["experiment_id"], ["experiments.id"], name=op.f("fk_cells_experiment_id_experiments"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_cells_job_id_jobs")),
        sa.PrimaryKeyConstraint("experiment_id", "cell", name=op.f("pk_cells")),
    )
    op.create_index(op.f("ix_cells_job_id"), "cells", ["job_id"], unique=False)


def downgrade() -> None:
    op.execute("SET LOCAL lock_timeout = '5s'")
    op.drop_index(op.f("ix_cells_job_id"), table_name="cells")
    op.drop_table("cells")
    op.drop_index(op.f("ix_experiments_project_submitted_at_id"), table_name="experiments")
    op.drop_index(op.f("ix_experiments_submitted_at_id"), table_name="experiments")
    op.drop_table("experiments")
