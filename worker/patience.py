"""Transactions of a supervisor: the database may be away, and comes back."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from store import database

log = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_PAUSE = 5.0  # s between tries


class Unreachable(Exception):
    """The database gave no answer."""


def reach(work: Callable[[Session], T]) -> T:
    """One transaction. Raises Unreachable when the database is away; the work may then be done or not."""
    with _reaching():
        return database.transact(work)


def look(work: Callable[[Session], T]) -> T:
    """The same for what only reads."""
    with _reaching(), database.readers() as session:
        return work(session)


@contextmanager
def _reaching() -> Iterator[None]:
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        if database.is_away(error):
            raise Unreachable(str(error).splitlines()[0]) from error
        raise


def insist(work: Callable[[Session], T]) -> T:
    """The same, again and again for as long as the database is away. `work` must bear being done twice."""
    tries = 0
    while True:
        try:
            return reach(work)
        except Unreachable as error:
            tries += 1
            if tries == 1:
                log.warning("the database is away; trying on: %s", error)
            time.sleep(min(LONGEST_PAUSE, 0.2 * 2.0**tries))
