"""A lab with one machine, in one transaction or with real commits."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine
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
