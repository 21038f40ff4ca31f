"""What was committed is sent; the broker may be away."""

import threading
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select, update

from store import database, outbox
from store.errors import BrokerAway
from store.tables import Outbox
from tests.store.lab import Lab


def test_messages_are_sent_in_order_and_once(lab: Lab) -> None:
    sent: list[tuple[str, Any]] = []
    for n in range(3):
        outbox.add(lab.session, f"node.{n}", {"n": n})
        lab.session.flush()
        lab.session.execute(
            update(Outbox).where(Outbox.queue == f"node.{n}").values(available_at=func.now() - timedelta(seconds=9 - n))
        )
    assert outbox.relay(lab.session, lambda queue, payload: sent.append((queue, payload)), limit=2) == 2
    assert outbox.relay(lab.session, lambda queue, payload: sent.append((queue, payload))) == 1
    assert outbox.relay(lab.session, lambda queue, payload: sent.append((queue, payload))) == 0
    assert sent == [(f"node.{n}", {"n": n}) for n in range(3)]
    assert outbox.backlog(lab.session).messages == 0


def test_without_a_broker_they_wait_and_nothing_is_lost(lab: Lab) -> None:
    def away(queue: str, payload: dict[str, Any]) -> None:
        raise BrokerAway("connection refused")

    for _ in range(2):
        outbox.add(lab.session, "node.1", {})
    lab.session.flush()
    assert outbox.relay(lab.session, away) == 0
    lab.session.flush()
    rows = lab.session.scalars(select(Outbox).order_by(Outbox.sends.desc())).all()
    assert [(row.sends, row.error) for row in rows] == [(1, "connection refused"), (0, None)]
    lab.session.execute(update(Outbox).values(available_at=func.now()))
    assert outbox.relay(lab.session, lambda queue, payload: None) == 2


def test_two_relays_share_the_work(open_lab: Lab) -> None:
    for n in range(20):
        outbox.add(open_lab.session, "node.1", {"n": n})
    open_lab.session.commit()
    sent: list[int] = []
    gate = threading.Barrier(2, timeout=10)

    def work() -> None:
        with database.sessions.begin() as session:
            first = True

            def send(queue: str, payload: dict[str, Any]) -> None:
                nonlocal first
                sent.append(payload["n"])
                if first:  # both hold their rows at this moment
                    first = False
                    gate.wait()

            outbox.relay(session, send, limit=10)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sent) == list(range(20))
