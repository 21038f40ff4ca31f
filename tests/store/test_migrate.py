"""Migrations and tables are in step, both ways."""

from pathlib import Path

import pytest
from sqlalchemy import Engine, inspect, text

from store import migrate
from store.states import JobState
from store.tables import Table


def test_up_is_what_the_tables_say_and_down_leaves_nothing(empty: Engine) -> None:
    assert not migrate.is_current(empty)
    files = sorted((Path(__file__).parents[2] / "migrations" / "versions").glob("0*.py"))
    assert migrate.upgrade(empty) == [file.name.partition("_")[0] for file in files]
    assert migrate.is_current(empty)
    assert migrate.drift(empty) == []
    assert migrate.upgrade(empty) == []
    migrate.downgrade(empty)
    assert set(inspect(empty).get_table_names()) == {"alembic_version"}
    migrate.upgrade(empty)
    assert set(inspect(empty).get_table_names()) == {*Table.metadata.tables, "alembic_version"}


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE jobs ADD COLUMN extra text",
        "ALTER TABLE jobs ALTER COLUMN name DROP NOT NULL",
        "DROP INDEX ix_jobs_queued",
        "ALTER TABLE nodes DROP CONSTRAINT uq_nodes_name",
        "ALTER TABLE jobs DROP CONSTRAINT ck_jobs_jobstate",
        "ALTER TABLE jobs DROP CONSTRAINT ck_jobs_jobstate, ADD CONSTRAINT ck_jobs_jobstate CHECK (state <> 'held')",
        "DROP INDEX uq_gpu_leases_live; CREATE UNIQUE INDEX uq_gpu_leases_live ON gpu_leases (gpu_id)",
    ],
)
def test_a_difference_is_seen(empty: Engine, change: str) -> None:
    migrate.upgrade(empty)
    with empty.begin() as connection:
        connection.execute(text(change))
    assert migrate.drift(empty) != []


def test_an_unknown_state_is_refused_by_the_database(empty: Engine) -> None:
    migrate.upgrade(empty)
    with empty.connect() as connection:
        rule = connection.scalar(
            text("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'ck_jobs_jobstate'")
        )
    assert all(f"'{state}'" in rule for state in JobState)
