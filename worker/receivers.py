"""Calls to receivers of webhooks: signed, to an address that was looked at, no redirects (API 8, 9.8)."""

import asyncio
import hashlib
import hmac
import json
import logging
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

import httpx2

from store import database, deliveries, receivers
from store.deliveries import Delivery
from store.receivers import Address, Allowed, Refused, Target
from store.settings import settings

log = logging.getLogger(__name__)
logging.getLogger("httpx2").setLevel(logging.WARNING)  # it logs URLs, and those may hold a secret

MOST = 50  # at once
LONGEST_S = 10.0  # for looking up, connecting, sending and the answer's head together


class Outcome(NamedTuple):
    """How a call went: `error` is None when a receiver has taken it."""

    status: int | None
    error: str | None


def call(most: int = MOST) -> int:
    """Send what is due; how many calls were made. No transaction is open meanwhile."""
    due = database.transact(lambda session: deliveries.take(session, most))
    if due:
        asyncio.run(_send_all(due, settings().webhooks_allowed))
    return len(due)


async def _send_all(due: list[Delivery], allowed: Allowed) -> None:
    """Each is told of as soon as it is over."""
    # A thread each for looking names up: those that nobody answers for keep no other waiting.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(len(due)))
    tasks = [asyncio.create_task(_attempt(delivery, allowed)) for delivery in due]
    for done in asyncio.as_completed(tasks):
        delivery, outcome = await done
        _settle(delivery, outcome)


def _settle(delivery: Delivery, outcome: Outcome) -> None:
    if outcome.error is None and outcome.status is not None:
        status = outcome.status
        database.transact(lambda session: deliveries.arrived(session, delivery.id, status))
        return
    error = outcome.error or ""
    log.info("not delivered", extra={"data": {"delivery": str(delivery.id), "error": error}})
    database.transact(lambda session: deliveries.failed(session, delivery.id, error, outcome.status))


async def _attempt(delivery: Delivery, allowed: Allowed) -> tuple[Delivery, Outcome]:
    try:
        async with asyncio.timeout(LONGEST_S):
            status = await _send(delivery, allowed)
    except TimeoutError:
        return delivery, Outcome(None, f"no answer within {LONGEST_S:g} s")
    except Refused as error:
        return delivery, Outcome(None, str(error))
    except Exception as error:  # whatever one receiver breaks, the others get theirs
        return delivery, Outcome(None, f"{type(error).__name__}: {error}")
    if 200 <= status < 300:
        return delivery, Outcome(status, None)
    redirected = "; redirects are not followed" if 300 <= status < 400 else ""
    return delivery, Outcome(status, f"it answered {status}{redirected}")


async def _send(delivery: Delivery, allowed: Allowed) -> int:
    """The status of the first of its addresses that can be connected to. Raises Refused, HTTPError, OSError."""
    target = receivers.parse(delivery.url)
    addresses = await asyncio.get_running_loop().run_in_executor(None, receivers.resolve, target)
    receivers.check(target, addresses, allowed)
    for address in addresses[:-1]:
        try:
            return await _post(delivery, target, address)
        except httpx2.ConnectError:
            continue
    return await _post(delivery, target, addresses[-1])


async def _post(delivery: Delivery, target: Target, address: Address) -> int:
    """To this very address: asked again, the name may lead elsewhere. The answer's body is not read."""
    body = text(delivery)
    headers = {"Host": target.authority, "Content-Type": "application/json", "User-Agent": "cmac-lab"}
    headers |= {"X-CMAC-Event": delivery.event, "X-CMAC-Delivery": str(delivery.id)}
    headers |= sign(delivery.secret, int(time.time()), body)
    # A client for each call: a connection of another host at this address must not be used again.
    async with httpx2.AsyncClient(verify=_trust(), timeout=LONGEST_S, trust_env=False) as client:
        named = {"sni_hostname": target.host}  # the certificate must be the host's
        async with client.stream("POST", target.at(address), content=body, headers=headers, extensions=named) as answer:
            return answer.status_code


def text(delivery: Delivery) -> bytes:
    """The body: the same bytes at every try."""
    body = {"id": str(delivery.id), "event": delivery.event, "at": delivery.at.isoformat(), **delivery.data}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def sign(secret: str, at: int, body: bytes) -> dict[str, str]:
    """The headers by which a receiver knows us: HMAC-SHA256 over `at.body`, `at` in seconds since 1970."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"X-CMAC-Timestamp": str(at), "X-CMAC-Signature-256": f"sha256={digest}"}


@cache
def _trust() -> ssl.SSLContext:
    """The system's authorities, or those of SSL_CERT_FILE: reading them takes longer than a call."""
    return ssl.create_default_context()
