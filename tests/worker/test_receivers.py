"""Calls to real receivers: signed, pinned, patient with nobody."""

import json
import logging
import re
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, func, select, text, update

from store import database, webhooks
from store.keys import SYSTEM
from store.settings import settings
from store.tables import Outbox, Webhook
from tests.worker.receiver import Receiver, Request, receiving
from worker import receivers
from worker.control import Control

if TYPE_CHECKING:
    from conftest import Stage

Allow = Callable[[str], None]
README = Path(__file__).parents[2] / "docs" / "WEBHOOKS.md"


@pytest.fixture
def allow(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Allow]:
    """Set CMAC_WEBHOOK_ALLOW; at first it is this machine's loopback. No webhook is left behind."""

    def set_to(allowed: str) -> None:
        monkeypatch.setenv("CMAC_WEBHOOK_ALLOW", allowed)
        settings.cache_clear()

    set_to("127.0.0.1")
    yield set_to
    with database.sessions.begin() as session:
        session.execute(delete(Webhook))


@pytest.fixture
def receiver(allow: Allow) -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def register(url: str) -> Webhook:
    return database.transact(lambda session: webhooks.add(session, url, webhooks.EVENTS, None, SYSTEM))


def send(hook: Webhook) -> uuid.UUID:
    """A delivery that is due, and no test: those are sent once."""
    with database.sessions.begin() as session:
        delivery = webhooks.ping(session, hook.id, SYSTEM).id
        session.execute(
            update(Outbox).where(Outbox.id == delivery).values(queue="job.failed", payload={"job": {"n": 1}})
        )
    return delivery


def row(delivery: uuid.UUID) -> Outbox:
    with database.sessions() as session:
        return session.get_one(Outbox, delivery)


def outcome(url: str) -> tuple[int | None, str | None]:
    """Of one delivery to a new webhook: status and error."""
    delivery = send(register(url))
    assert receivers.call() == 1
    return row(delivery).status, row(delivery).error


def verifier() -> Callable[[str, dict[str, str], bytes], bool]:
    """The function that the manual gives to receivers."""
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)
    is_genuine: Callable[[str, dict[str, str], bytes], bool] = names["is_genuine"]
    return is_genuine


def test_a_receiver_can_check_what_it_gets_with_the_manuals_ten_lines(receiver: Receiver) -> None:
    hook = register(receiver.url())
    delivery = send(hook)
    assert receivers.call() == 1
    (got,) = receiver.requests
    is_genuine = verifier()
    assert is_genuine(hook.secret, got.headers, got.body)
    assert not is_genuine(hook.secret + "x", got.headers, got.body)
    assert not is_genuine(hook.secret, got.headers, got.body + b" ")
    assert not is_genuine(hook.secret, got.headers | {"x-cmac-timestamp": str(int(time.time()) - 301)}, got.body)
    later = str(int(got.headers["x-cmac-timestamp"]) + 1)
    assert not is_genuine(hook.secret, got.headers | {"x-cmac-timestamp": later}, got.body)
    assert (got.path, got.headers["host"]) == ("/in?x=1", f"127.0.0.1:{receiver.port}")
    assert (got.headers["x-cmac-delivery"], got.headers["x-cmac-event"]) == (str(delivery), "job.failed")
    body = json.loads(got.body)
    assert (body["id"], body["event"], body["job"]) == (str(delivery), "job.failed", {"n": 1})
    assert (row(delivery).status, row(delivery).error) == (204, None)
    assert row(delivery).sent_at is not None
    assert receivers.call() == 0


def test_no_url_and_no_secret_is_logged(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    receiver.status = 500
    hook = register(receiver.url() + "&token=hush")
    send(hook)
    assert receivers.call() == 1
    assert "it answered 500" in str([vars(record) for record in caplog.records])
    assert not re.search(f"hush|{hook.secret}", str([vars(record) for record in caplog.records]))


def test_what_failed_comes_again_under_its_id_with_the_same_body(receiver: Receiver) -> None:
    receiver.status = 503
    delivery = send(register(receiver.url()))
    assert receivers.call() == 1
    assert (row(delivery).status, row(delivery).error) == (503, "it answered 503")
    assert receivers.call() == 0, "not before its time"
    receiver.status = 200
    with database.sessions.begin() as session:
        session.execute(update(Outbox).values(available_at=func.now()))
        session.execute(update(Webhook).values(not_before=func.now()))
    assert receivers.call() == 1
    first, second = receiver.requests
    assert first.body == second.body
    assert first.headers["x-cmac-delivery"] == second.headers["x-cmac-delivery"]
    assert row(delivery).sent_at is not None
    assert row(delivery).sends == 2


def test_a_redirect_is_an_error_and_nobody_goes_there(receiver: Receiver) -> None:
    with receiving() as elsewhere:
        receiver.status, receiver.headers = 307, {"Location": elsewhere.url()}
        assert outcome(receiver.url()) == (307, "it answered 307; redirects are not followed")
        assert elsewhere.requests == []


def resolving(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """Names under .test have these addresses, one answer after the other; the names that were asked for."""
    asked: list[str] = []
    genuine = socket.getaddrinfo

    def look_up(host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".test"):
            return genuine(host, port, *args, **kwargs)
        addresses = answers[min(len(asked), len(answers) - 1)]
        asked.append(str(host))
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked


def test_a_name_that_changes_after_it_was_looked_at_is_called_where_it_was_looked_at(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    with receiving("127.0.0.2", receiver.port) as inner:
        asked = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
        assert outcome(receiver.url("rebinding.test")) == (204, None)
        assert asked == ["rebinding.test"], "asked once, so there is nothing to rebind"
        (got,) = receiver.requests
        assert got.headers["host"] == f"rebinding.test:{receiver.port}"
        assert inner.requests == []
        # The next delivery is looked at anew, and 127.0.0.2 is not allowed.
        assert "CMAC_WEBHOOK_ALLOW" in str(outcome(receiver.url("rebinding.test"))[1])
        assert inner.requests == []


def test_one_forbidden_address_of_a_name_is_enough(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    resolving(monkeypatch, ["127.0.0.1", "10.0.0.1"])
    assert "CMAC_WEBHOOK_ALLOW" in str(outcome(receiver.url("both.test"))[1])
    assert receiver.requests == []


def test_of_several_good_addresses_the_first_that_answers_is_taken(
    receiver: Receiver, allow: Allow, monkeypatch: pytest.MonkeyPatch
) -> None:
    allow("127.0.0.0/8")
    resolving(monkeypatch, ["127.0.0.3", "127.0.0.1"])
    assert outcome(receiver.url("two.test")) == (204, None)


def test_loopback_is_refused_unless_it_is_allowed(receiver: Receiver, allow: Allow) -> None:
    allow("")
    assert "CMAC_WEBHOOK_ALLOW" in str(outcome(receiver.url())[1])
    assert receiver.requests == []


@pytest.mark.parametrize("host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "named.test"])
def test_metadata_is_called_by_nobody_though_everything_is_allowed(
    allow: Allow, monkeypatch: pytest.MonkeyPatch, host: str
) -> None:
    allow("0.0.0.0/0,::/0,169.254.169.254/32,named.test")
    resolving(monkeypatch, ["169.254.169.254"])
    monkeypatch.setattr(receivers, "_post", lambda *_: pytest.fail("it was called"))
    assert "metadata" in str(outcome(f"http://{host}/latest/meta-data/")[1])


def test_an_answer_without_end_is_not_read(receiver: Receiver) -> None:
    receiver.status, receiver.endless = 200, True
    began = time.monotonic()
    assert outcome(receiver.url()) == (200, None)
    assert time.monotonic() - began < 5


def test_a_head_that_comes_byte_by_byte_ends_with_its_time(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receivers, "LONGEST_S", 1.0)
    receiver.drip_s = 0.1
    began = time.monotonic()
    assert outcome(receiver.url()) == (None, "no answer within 1 s")
    assert 1 <= time.monotonic() - began < 5


def test_what_one_receiver_breaks_does_not_keep_the_others_from_theirs(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "LONGEST_S", 1.0)
    with socket.socket() as closed, receiving() as silent:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        silent.answer_now.clear()
        urls = [f"http://127.0.0.1:{closed.getsockname()[1]}/", silent.url(), "http://unknown.invalid/", receiver.url()]
        sent = [send(register(url)) for url in urls]
        assert receivers.call() == 4
    errors = [row(delivery).error for delivery in sent]
    assert errors[0] is not None
    assert errors[0].startswith("ConnectError")
    assert errors[1:] == ["no answer within 1 s", "the host unknown.invalid is not known", None]


@pytest.mark.system
def test_a_receiver_that_hangs_holds_no_launch_and_no_transaction(
    receiver: Receiver, stage: "Stage", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "LONGEST_S", 60.0)
    receiver.answer_now.clear()
    with database.sessions.begin() as session:  # launches of other tests, each of which waits for the broker
        session.execute(delete(Outbox))
    delivery = send(register(receiver.url()))
    control = Control()
    thread = threading.Thread(target=control.run)
    thread.start()
    try:
        stage.until(lambda: receiver.requests)
        open_ones = text("select count(*) from pg_stat_activity where state like 'idle in transaction%'")
        stage.until(lambda: not stage.read(lambda session: session.scalar(open_ones)))
        lease = stage.place(stage.submit())
        launches = select(Outbox.sends).where(Outbox.payload["attempt_id"].astext == str(lease.attempt))
        stage.until(lambda: stage.read(lambda session: session.scalar(launches)), 40)  # the broker is away, too
        assert row(delivery).status is None, "all this while it hung"
    finally:
        receiver.answer_now.set()
        control.stop()
        thread.join(15)
    assert not thread.is_alive()


@pytest.fixture
def certified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ssl.SSLContext]:
    """The certificate of hooks.test, by an authority that this process trusts."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=hooks.test",
         "-addext", "subjectAltName=DNS:hooks.test", "-keyout", str(key), "-out", str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    receivers._trust.cache_clear()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    yield context
    receivers._trust.cache_clear()


def test_over_https_the_certificate_must_be_the_hosts_though_an_address_is_called(
    allow: Allow, certified: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str | None] = []
    certified.sni_callback = lambda _, name, __: asked.append(name)
    resolving(monkeypatch, ["127.0.0.1"])
    with receiving(tls=certified) as receiver:
        assert outcome(receiver.url("hooks.test", "https")) == (204, None)
        assert asked == ["hooks.test"]
        assert "certificate verify failed" in str(outcome(receiver.url("other.test", "https"))[1])
        assert [request.headers["host"] for request in receiver.requests] == [f"hooks.test:{receiver.port}"]


def test_proxies_of_the_environment_are_not_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert outcome(receiver.url()) == (204, None)
    assert isinstance(receiver.requests[0], Request)
