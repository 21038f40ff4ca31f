"""Receivers of events from the command line."""

import json
import threading
from collections.abc import Iterator

import pytest
from sqlalchemy import delete

from store import database, deliveries
from store.settings import settings
from store.tables import Webhook
from tests.api.conftest import Lab
from tests.client.conftest import Cmac

URL = "http://127.0.0.1:9/in"


@pytest.fixture(autouse=True)
def in_house(at_home: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("CMAC_WEBHOOK_ALLOW", "127.0.0.1")
    settings.cache_clear()
    yield
    with database.sessions.begin() as session:
        session.execute(delete(Webhook))


@pytest.fixture
def answering() -> Iterator[list[int]]:
    """A worker that calls nobody: it says of every delivery that this status came back."""
    statuses, over = [204], threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            with database.sessions.begin() as session:
                for delivery in deliveries.take(session, 10):
                    if statuses[0] < 300:
                        deliveries.arrived(session, delivery.id, statuses[0])
                    else:
                        deliveries.failed(session, delivery.id, f"it answered {statuses[0]}", statuses[0])

    thread = threading.Thread(target=work)
    thread.start()
    yield statuses
    over.set()
    thread.join(10)


def test_a_webhook_is_added_tested_shown_and_removed(cmac: Cmac, lab: Lab, answering: list[int]) -> None:
    said = cmac("webhook", "add", URL, "--event", "job.failed", "--event", "job.cancelled")
    assert said.code == 0
    assert "cmacwh_" in said.out
    assert "only now" in said.err
    (row,) = json.loads(cmac("webhook", "list", "--json").out)
    assert (row["url"], row["events"], "secret" in row) == (URL, ["job.cancelled", "job.failed"], False)
    short = row["id"][:8]
    assert short in cmac("webhook", "list").out

    tested = cmac("webhook", "test", short)
    assert (tested.code, tested.out.strip()) == (0, "arrived: it answered 204")
    answering[0] = 404
    tested = cmac("webhook", "test", short)
    assert (tested.code, tested.out.strip()) == (1, "did not arrive: it answered 404")
    job = lab.submit()
    cmac("cancel", job, "--quiet")
    shown = cmac("webhook", "show", short).out
    assert "job.cancelled" in shown
    assert job[:8] in shown
    assert "it answered 404" in shown
    assert len(json.loads(cmac("webhook", "show", short, "--json").out)["deliveries"]) == 3

    assert cmac("webhook", "remove", short).out.strip() == f"removed {row['id']}"
    assert "no webhooks" in cmac("webhook", "list").out


def test_what_is_wrong_is_said_in_words(cmac: Cmac) -> None:
    for arguments, says in (
        (["add", "http://10.0.0.1/"], "CMAC_WEBHOOK_ALLOW"),
        (["add", URL, "--event", "job.bored"], "/events/0"),
        (["show", "ffff"], "no webhook begins with"),
    ):
        said = cmac("webhook", *arguments)
        assert (said.code, says in said.err) == (2, True), said
