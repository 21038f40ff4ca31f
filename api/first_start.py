"""The first start makes one admin key, kept for the command line; the log says it only where nobody else would."""

import asyncio
import logging

from sqlalchemy.exc import DBAPIError
from starlette.concurrency import run_in_threadpool

from api.problems import is_not_ready
from store import keys
from store.database import sessions
from store.settings import make_home, settings

log = logging.getLogger("api.first_start")

_AGAIN_S = 1.0


def make_first_key(announce: bool = False) -> None:
    """Nothing when there is a key already. `announce`: say it in the log, this once."""
    with sessions.begin() as session:
        token = keys.bootstrap(session)
        if token is not None:
            # Before the commit: a key that nobody can read would be worse than a file that opens nothing.
            file = keys.keep_admin_key(make_home(settings()), token)
            log.info("first start: the admin key is in %s%s", file, f": {token}" if announce else "")


async def ensure_first_key(announce: bool) -> None:
    """Now, or as soon as the database is there and migrated."""
    while not await _tried(announce):
        await asyncio.sleep(_AGAIN_S)


async def _tried(announce: bool) -> bool:
    try:
        await run_in_threadpool(make_first_key, announce)
    except DBAPIError as error:
        if not is_not_ready(error):
            raise
        return False
    return True
