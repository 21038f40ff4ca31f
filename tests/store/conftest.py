"""A lab with one machine, in one transaction or with real commits."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text
from sqlalchemy.orm import Session

from store import database
from tests.store.lab import ADMIN, Lab


@pytest.fixture
def lab(session: Session) -> Lab:
    """One node of two CPU slots and the dataset moving@1; undone at the end."""
    lab = Lab(session, ADMIN)
    lab.node()
    lab.dataset()
    return lab


@pytest.fixture
def open_lab(committed: Engine) -> Iterator[Lab]:
    """The same, for tests with several transactions: commit with `lab.session.commit()`."""
    with database.sessions() as session:
        lab = Lab(session, ADMIN)
        lab.node()
        lab.dataset()
        session.commit()
        yield lab


@pytest.fixture
def empty(cluster: tuple[Path, Engine]) -> Iterator[Engine]:
    """An empty database of its own in the shared cluster."""
    name = f"m{uuid.uuid4().hex[:8]}"
    with cluster[1].connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
        engine = create_engine(cluster[1].url.set(database=name))
        yield engine
        engine.dispose()
        connection.execute(text(f"DROP DATABASE {name}"))
