"""Sent twice, done once."""

import threading
from datetime import timedelta

import pytest
from sqlalchemy import func, select, update

from store import database, idempotency, jobs
from store.errors import IdempotencyInProgress, IdempotencyMismatch
from store.idempotency import Answer
from store.keys import Principal, Role
from store.tables import IdempotencyKey, Job
from tests.store.lab import SPECS, Lab

PRINT = idempotency.fingerprint("POST", "/jobs", {"b": 1, "a": [1.0, "ä"]})
ANSWER = Answer(202, {"Location": "/jobs/1"}, {"id": "1"})


def test_the_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert idempotency.fingerprint("POST", "/jobs", {"a": [1.0, "ä"], "b": 1}) == PRINT
    assert idempotency.fingerprint("POST", "/jobs", {"a": [1.0, "ä"], "b": 2}) != PRINT
    assert idempotency.fingerprint("POST", "/roots", {"a": [1.0, "ä"], "b": 1}) != PRINT


def test_the_same_request_gets_the_same_answer(lab: Lab) -> None:
    who = lab.principal
    assert idempotency.begin(lab.session, who, "k1", PRINT) is None
    idempotency.keep(lab.session, who, "k1", ANSWER)
    assert idempotency.begin(lab.session, who, "k1", PRINT) == ANSWER
    with pytest.raises(IdempotencyMismatch):
        idempotency.begin(lab.session, who, "k1", "other")
    assert idempotency.begin(lab.session, Principal("eva", Role.submitter, key="e"), "k1", PRINT) is None


def test_a_key_lives_for_a_day(lab: Lab) -> None:
    idempotency.begin(lab.session, lab.principal, "k1", PRINT)
    idempotency.keep(lab.session, lab.principal, "k1", ANSWER)
    lab.session.execute(update(IdempotencyKey).values(expires_at=func.now() - timedelta(seconds=1)))
    assert idempotency.begin(lab.session, lab.principal, "k1", "other") is None


def test_of_two_at_once_the_second_waits_and_makes_nothing(open_lab: Lab) -> None:
    from cmac_core.specs import JOB_SPEC

    spec = JOB_SPEC.validate_python({"kind": "retrieval"} | SPECS["retrieval"])
    answers: list[Answer] = []
    started = threading.Barrier(2, timeout=10)

    def post() -> None:
        started.wait()
        with database.sessions.begin() as session:
            known = idempotency.begin(session, open_lab.principal, "k1", PRINT)
            if known is None:
                job = jobs.submit(session, spec, open_lab.principal)
                known = Answer(202, {}, {"id": str(job.id)})
                idempotency.keep(session, open_lab.principal, "k1", known)
            answers.append(known)

    threads = [threading.Thread(target=post) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers[0] == answers[1]
    assert open_lab.session.scalar(select(func.count()).select_from(Job)) == 1


def test_a_first_that_takes_too_long_is_told(open_lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(idempotency, "WAIT_S", 0.1)
    with database.sessions.begin() as first:
        idempotency.begin(first, open_lab.principal, "k1", PRINT)
        with database.sessions.begin() as second, pytest.raises(IdempotencyInProgress):
            idempotency.begin(second, open_lab.principal, "k1", PRINT)


def test_a_first_that_fails_leaves_the_key_free(open_lab: Lab) -> None:
    with database.sessions() as first:
        idempotency.begin(first, open_lab.principal, "k1", PRINT)
        first.rollback()
    assert idempotency.begin(open_lab.session, open_lab.principal, "k1", PRINT) is None
