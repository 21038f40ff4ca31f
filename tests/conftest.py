"""A real PostgreSQL for tests that want one: started once, migrated, empty before each test. No torch here."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from store import database, embedded, keys, migrate
from store import settings as settings_module
from store.settings import Settings
from store.tables import Table

# One thread in every process, set before any test imports torch: ranks are compared with a single process, and both
# must add up in the same order.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def cluster() -> Iterator[tuple[Path, Engine]]:
    """Home and engine of a migrated embedded PostgreSQL. A short path: sockets have 107 characters."""
    with tempfile.TemporaryDirectory(prefix="cm-", dir="/tmp") as folder:
        settings = Settings(home=Path(folder), database_url=None)
        embedded.start_postgres(settings, durable=False)
        engine = database.create(embedded.database_url(settings).replace("postgresql:", "postgresql+psycopg:", 1))
        try:
            migrate.upgrade(engine)
            yield Path(folder), engine
        finally:
            engine.dispose()
            embedded.stop_postgres(settings)


@pytest.fixture
def settings(cluster: tuple[Path, Engine], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Settings]:
    """This process's settings: a home of the test's own over the shared database."""
    home, engine = cluster
    for name in [name for name in os.environ if name.startswith("CMAC_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("CMAC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CMAC_DATABASE_URL", embedded.database_url(Settings(home=home)))
    monkeypatch.setenv("CMAC_NODE_NAME", "here")
    monkeypatch.setattr(database, "engine", lambda: engine)
    settings_module.settings.cache_clear()
    yield settings_module.settings()
    settings_module.settings.cache_clear()


@pytest.fixture
def session(settings: Settings) -> Iterator[Session]:
    """One transaction, undone at the end. Commits inside become savepoints."""
    with database.engine().connect() as connection, connection.begin() as transaction:
        with Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint") as session:
            keys.bootstrap(session)
            yield session
        transaction.rollback()


@pytest.fixture
def committed(settings: Settings) -> Iterator[Engine]:
    """For tests whose transactions must see each other: `database.sessions` commits for real, emptied afterwards."""
    with database.sessions.begin() as session:
        keys.bootstrap(session)
    yield database.engine()
    tables = ", ".join(table.name for table in Table.metadata.sorted_tables)
    with database.engine().begin() as connection:
        connection.execute(text("SET LOCAL session_replication_role = replica"))  # the trail is append-only
        connection.execute(text(f"TRUNCATE {tables} CASCADE"))
