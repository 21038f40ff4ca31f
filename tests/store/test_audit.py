"""The trail is added to, and nothing else."""

import psycopg.errors
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from store import audit
from store.keys import SYSTEM
from store.tables import Audit


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE audit SET principal = 'nobody'",
        "DELETE FROM audit",
        "DELETE FROM audit WHERE false",
        "TRUNCATE audit",
        "INSERT INTO audit (id, principal, action, target) SELECT id, 'nobody', '', '' FROM audit "
        "ON CONFLICT (id) DO UPDATE SET principal = 'nobody'",
    ],
)
def test_the_database_refuses_to_change_it(session: Session, change: str) -> None:
    audit.write(session, SYSTEM, "job.submit", "1")
    session.flush()
    with pytest.raises(DBAPIError, match="audit is append-only") as refused, session.begin_nested():
        session.execute(text(change))
    assert isinstance(refused.value.orig, psycopg.errors.InsufficientPrivilege)
    assert [row.principal for row in session.scalars(select(Audit))] == ["system"]
