"""Transactions that meet are tried again; an address that does not answer is told from work that is wrong."""

import threading
import time
import uuid

import psycopg
import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from store import code, database, notices
from store import settings as settings_module
from store.settings import Settings
from store.tables import Job
from tests.store.lab import Lab


def test_a_deadlock_is_tried_again_and_both_arrive(open_lab: Lab) -> None:
    first, second = (open_lab.submit("retrieval").id for _ in range(2))
    open_lab.session.commit()
    meet = threading.Barrier(2, timeout=10)
    tries: list[int] = []

    def swap(a: uuid.UUID, b: uuid.UUID) -> None:
        def work(session: Session) -> None:
            tries.append(1)
            session.execute(text("SET LOCAL deadlock_timeout = '50ms'"))
            session.execute(select(Job.id).where(Job.id == a).with_for_update())
            if len(tries) <= 2:
                meet.wait()
            session.execute(select(Job.id).where(Job.id == b).with_for_update())

        database.transact(work)

    threads = [threading.Thread(target=swap, args=pair) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(tries) == 3


def test_what_is_wrong_is_not_tried_again(open_lab: Lab) -> None:
    tries: list[int] = []

    def work(session: Session) -> None:
        tries.append(1)
        session.execute(text("SELECT 1 / 0"))

    with pytest.raises(DBAPIError) as caught:
        database.transact(work)
    assert len(tries) == 1
    assert not database.is_away(caught.value)


def test_nobody_at_the_address_is_away() -> None:
    engine = database.create("postgresql+psycopg://postgres@/postgres?host=/nowhere")
    with pytest.raises(DBAPIError) as caught:
        engine.connect()
    assert database.is_away(caught.value)
    with pytest.raises(psycopg.OperationalError) as bare:
        psycopg.connect("postgresql://postgres@/postgres?host=/nowhere")
    assert database.is_away(bare.value)
    assert not database.is_away(ValueError("x"))


def test_who_falls_silent_in_a_transaction_keeps_no_rows(open_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor that is stopped there must not keep its attempt from being given up for lost."""
    monkeypatch.setattr(database, "SILENT_S", 0.5)
    monkeypatch.setenv("CMAC_LEASE", "0.1/0.4/0.8/1")
    settings_module.settings.cache_clear()
    job = open_lab.submit("retrieval").id
    open_lab.session.commit()
    take = select(Job.id).where(Job.id == job).with_for_update()
    engine = database.create(database.url())
    try:
        with Session(engine) as silent:
            silent.execute(take)
            began = time.monotonic()
            database.transact(lambda session: session.execute(take))
            assert 0.3 < time.monotonic() - began < 10
            with pytest.raises(DBAPIError) as caught:
                silent.execute(take)
            assert database.is_away(caught.value), "it comes back with the next connection"
    finally:
        engine.dispose()


def test_a_connection_that_died_while_it_rested_is_replaced(open_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "RESTED_S", 0.0)
    engine = database.create(database.url())
    try:
        with engine.connect() as connection:
            backend = connection.scalar(text("SELECT pg_backend_pid()"))
        open_lab.session.execute(select(func.pg_terminate_backend(backend)))
        with engine.connect() as connection:
            assert connection.scalar(text("SELECT pg_backend_pid()")) != backend
    finally:
        engine.dispose()


def test_who_only_reads_has_no_transaction_and_writes_no_rows(open_lab: Lab) -> None:
    job = open_lab.submit("retrieval").id
    open_lab.session.commit()
    with database.readers() as session:
        found = session.get_one(Job, job)
        idle = select(text("state")).select_from(text("pg_stat_activity")).where(text("pid = :pid"))
        backend = session.scalar(text("SELECT pg_backend_pid()"))
        assert open_lab.session.scalar(idle, {"pid": backend}) == "idle"
        found.name = "another"
        with pytest.raises(AssertionError, match="only reads"):
            session.flush()


def test_options_of_the_address_stay(settings: Settings) -> None:
    engine = database.create(f"{database.url()}&options=-c%20work_mem%3D5MB")
    try:
        with engine.connect() as connection:
            assert connection.scalar(text("SHOW work_mem")) == "5MB"
            assert connection.scalar(text("SHOW idle_in_transaction_session_timeout")) == "30s"
    finally:
        engine.dispose()


def test_a_commit_wakes_who_listens_and_an_undone_one_does_not(open_lab: Lab) -> None:
    with notices.Listener(notices.QUEUE, notices.JOBS) as listener:
        open_lab.submit("retrieval")
        open_lab.session.rollback()
        began = time.monotonic()
        assert listener.wait(0.2) == []
        assert time.monotonic() - began >= 0.2
        job = open_lab.submit("retrieval")
        open_lab.session.commit()
        heard = listener.wait(5)
        while len(heard) < 2 and (more := listener.wait(5)):
            heard += more
    assert {(notice.channel, notice.payload) for notice in heard} == {
        (notices.QUEUE, ""), (notices.JOBS, str(job.id)),
    }  # fmt: skip


def test_the_code_has_a_version() -> None:
    version = code.code_version()
    assert version.lock_sha256 is None or len(version.lock_sha256) == 64
    assert version.git_sha is None or len(version.git_sha) in (40, 41)
