"""`python -m store.migrate`: bring the database to the newest schema. `--check`: are migrations and tables in step?"""

import argparse
import sys
import tempfile
from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, text

from store import database, embedded
from store.settings import Settings
from store.tables import Table

SCRIPTS = "migrations"  # the package


def upgrade(engine: Engine, to: str = "head") -> list[str]:
    """Apply what is missing, under a lock; the revisions that were applied, oldest first."""
    with engine.begin() as connection:
        _lock(connection)
        before = _revisions(connection)
        command.upgrade(_config(connection), to)
        after = _revisions(connection)
    steps = _script().iterate_revisions(after[0] if after else "base", before[0] if before else "base")
    return [step.revision for step in reversed(list(steps))]


def downgrade(engine: Engine, to: str = "base") -> None:
    """Undo down to a revision."""
    with engine.begin() as connection:
        _lock(connection)
        command.downgrade(_config(connection), to)


def drift(engine: Engine) -> list[str]:
    """Differences between the database and the tables, in words; empty when in step."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        found = [repr(difference) for difference in compare_metadata(context, Table.metadata)]
        return found + _rules_that_differ(connection)


# Alembic compares neither CHECKs nor the WHERE of an index, and those are what our guards are made of.
_RULES = """
    SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint
     WHERE contype = 'c' AND connamespace = CAST(:space AS regnamespace)
    UNION ALL
    SELECT i.relname, coalesce(pg_get_expr(x.indpred, x.indrelid), '') || x.indnullsnotdistinct
      FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
     WHERE i.relnamespace = CAST(:space AS regnamespace) AND i.relname NOT LIKE 'alembic%'
"""


def _rules_that_differ(connection: Connection) -> list[str]:
    """Compare with tables made anew in a schema that is thrown away."""
    with connection.begin_nested() as point:
        connection.execute(text("CREATE SCHEMA drift_check"))
        there = _rules(connection, "public")
        connection.execute(text("SET LOCAL search_path TO drift_check"))
        Table.metadata.create_all(connection, checkfirst=False)
        wanted = _rules(connection, "drift_check")
        point.rollback()
    names = sorted(name for name in {*there, *wanted} if there.get(name) != wanted.get(name))
    return [f"{name}: the database has {there.get(name)}, the tables {wanted.get(name)}" for name in names]


def _rules(connection: Connection, space: str) -> dict[str, str]:
    return {name: rule for name, rule in connection.execute(text(_RULES), {"space": space})}


def is_current(engine: Engine) -> bool:
    """Whether the database is at the newest revision (for /readyz)."""
    with engine.connect() as connection:
        return set(_revisions(connection)) == set(_script().get_heads())


def main(arguments: list[str] | None = None) -> int:
    """0 when done or in step, 1 on drift."""
    parser = argparse.ArgumentParser(prog="python -m store.migrate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="on a throw-away database: exit 1 on drift")
    parser.add_argument("--to", default="head", help="revision to go to (default: head)")
    asked = parser.parse_args(arguments)
    if asked.check:
        return _check()
    done = upgrade(database.engine(), asked.to)
    sys.stdout.write(f"applied {', '.join(done)}\n" if done else "the database is up to date\n")
    return 0


def _check() -> int:
    """Up, compare, down, up, on a database of its own."""
    with tempfile.TemporaryDirectory(prefix="cm") as folder:
        settings = Settings(home=Path(folder))
        embedded.start_postgres(settings, durable=False)
        try:
            engine = create_engine(embedded.database_url(settings).replace("postgresql:", "postgresql+psycopg:", 1))
            upgrade(engine)
            found = drift(engine)
            downgrade(engine)
            upgrade(engine)
            engine.dispose()
        finally:
            embedded.stop_postgres(settings)
    for difference in found:
        sys.stdout.write(f"{difference}\n")
    sys.stdout.write("migrations and tables differ\n" if found else "migrations and tables are in step\n")
    return 1 if found else 0


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", f"{SCRIPTS}:")
    config.attributes["connection"] = connection
    return config


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", f"{SCRIPTS}:")
    return ScriptDirectory.from_config(config)


def _revisions(connection: Connection) -> tuple[str, ...]:
    return MigrationContext.configure(connection).get_current_heads()


def _lock(connection: Connection) -> None:
    # Two services that start together must not both migrate.
    connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('cmac migrate'))"))


if __name__ == "__main__":
    sys.exit(main())
