"""What /readyz looks at: database, migrations, the loops' leaders, the disk (API 8, RULINGS 20)."""

import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from store import database, leaders, migrate, outbox
from store.database import is_away, sessions
from store.settings import settings

_LEADER_AGE_S = 15.0
_LOOPS = (leaders.SCHEDULER, leaders.RECONCILER)
_UNSENT_S = 30.0
_FREE_BYTES = 1 << 30
_SLOW_S = 1.0


class Health(NamedTuple):
    """`ready`: requests can be served. `troubles`: what a person should look at."""

    ready: bool
    troubles: list[str]
    checks: dict[str, Any]


def look() -> Health:
    """Ask everything once, with a real query."""
    started = time.monotonic()
    try:
        with sessions() as session:
            session.execute(text("SET LOCAL statement_timeout = '1s'"))
            session.execute(text("SELECT 1"))
        if not migrate.is_current(database.engine()):
            return Health(False, ["the database is not migrated; run `python -m store.migrate`"], {"database": "old"})
        with sessions() as session:
            ages, unsent = leaders.ages(session), outbox.backlog(session)
    except (DBAPIError, PoolTimeout) as error:
        if isinstance(error, DBAPIError) and not is_away(error):
            raise
        return Health(False, ["the database does not answer"], {"database": "away"})
    answered = time.monotonic() - started
    free = free_bytes(settings().root)
    troubles = [f"the database took {answered:.1f} s"] if answered > _SLOW_S else []
    troubles += [f"no {name} leads; is a worker running?" for name in _LOOPS if name not in ages]
    troubles += [f"the {name} has rested for {age:.0f} s" for name, age in ages.items() if age > _LEADER_AGE_S]
    if unsent.oldest_s > _UNSENT_S:
        troubles += [f"{unsent.messages} messages have waited up to {unsent.oldest_s:.0f} s; is Redis there?"]
    troubles += [f"only {free >> 20} MiB of disk are free"] if free < _FREE_BYTES else []
    checks = {"database_s": round(answered, 4), "leaders_s": ages, "unsent": unsent.messages, "disk_free": free}
    return Health(True, troubles, checks)


def free_bytes(home: Path) -> int:
    """Free space on the disk where the home is, or will be: it is made by the first who writes."""
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    return shutil.disk_usage(there).free
