"""What each fault does to the service. Each call lasts as long as the fault does."""

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from uuid import UUID

import psutil
from sqlalchemy import func, select, update

from chaos.schedule import Fault
from chaos.service import NODES, ROOT, Service, alive, send
from store import database, embedded, queue
from store.errors import BrokerAway
from store.settings import settings
from store.tables import Outbox
from worker.marks import mark_of

PATIENCE = 30.0  # s that a fault waits for something it could hit, under the default lease times


@dataclass(frozen=True)
class Hit:
    """What was hit, and when. `attempts` is empty for a fault of the service itself."""

    fault: Fault
    at: float  # seconds since 1970, as the database counts
    over: float  # when the fault itself was over
    attempts: frozenset[UUID] = frozenset()


def strike(service: Service, fault: Fault) -> Hit | None:
    """Do it; None when there was nothing to hit."""
    who, _, how = fault.name.rpartition(" ")
    if fault.name in _OTHERS:
        at = time.time()
        attempts = _OTHERS[fault.name](service, fault)
        return Hit(fault, at, time.time(), attempts)
    targets = _wait_for(service, who, fault)
    if not targets:
        return None
    attempts, at = _attempts(targets), time.time()
    if how == "killed":
        _signal(targets, signal.SIGKILL)
    else:
        _hold(targets, fault.seconds)
    if who == "api" and how == "killed":
        time.sleep(fault.seconds)
        service.start_api()
    return Hit(fault, at, time.time(), attempts)


_SERVICE = {"api": "api", "control": "control", "node loop": "node", "consumer": "consumer", "pool": "pool"}
_RUNS = {"supervisor": "supervisor", "run": "run", "family": ""}


def _wait_for(service: Service, who: str, fault: Fault) -> list[psutil.Process]:
    end = time.monotonic() + settings().times.scaled(PATIENCE)
    while time.monotonic() < end:
        if who in _SERVICE:
            found = service.processes(_SERVICE[who])
        elif who == "family":  # all of one attempt
            found = service.runs("supervisor")
            found = _family(service, found[fault.pick % len(found)]) if found else []
            return found
        else:
            found = service.runs(_RUNS[who])
        if found:
            return [found[fault.pick % len(found)]]
        time.sleep(0.1)
    return []


def _family(service: Service, supervisor: psutil.Process) -> list[psutil.Process]:
    mark = mark_of(supervisor.pid)
    return alive(pid for pid, other in service.marks().items() if other == mark)


def _attempts(targets: Sequence[psutil.Process]) -> frozenset[UUID]:
    marks = [mark_of(process.pid) for process in targets]
    return frozenset(mark.attempt for mark in marks if mark is not None)


def _signal(targets: Sequence[psutil.Process], sign: signal.Signals) -> None:
    for process in targets:
        send(process, sign)


def _hold(targets: Sequence[psutil.Process], seconds: float) -> None:
    _signal(targets, signal.SIGSTOP)
    time.sleep(seconds)
    _signal(targets, signal.SIGCONT)


def _hang_supervisor(service: Service, fault: Fault) -> frozenset[UUID]:
    """Longer than the lease, while its machine's loop is well: it is ended, not woken."""
    targets = _wait_for(service, "supervisor", fault)
    attempts = _attempts(targets)
    _hold(targets, fault.seconds)
    return attempts


def _cut_off(service: Service, fault: Fault) -> frozenset[UUID]:
    """Supervisors and loop of one machine see nothing for longer than the lease; its runs go on."""
    node = NODES[fault.pick % len(NODES)]
    service.until(lambda: service.runs("run", node), settings().times.scaled(PATIENCE))
    loop, supervisors = service.processes("node", node), service.runs("supervisor", node)
    attempts = _attempts(supervisors)
    _signal([*loop, *supervisors], signal.SIGSTOP)
    time.sleep(fault.seconds)
    _signal(supervisors, signal.SIGCONT)  # first: nobody has ended them, the fence must
    time.sleep(1.5)
    _signal(loop, signal.SIGCONT)
    return attempts


def _freeze_machine(service: Service, fault: Fault) -> frozenset[UUID]:
    """Everything on one machine stands still for longer than the lease, and then goes on where it was."""
    node = NODES[fault.pick % len(NODES)]
    service.until(lambda: service.runs("run", node), settings().times.scaled(PATIENCE))
    targets = [*service.processes("worker", node), *service.runs("", node)]
    attempts = _attempts(targets)
    _hold(targets, fault.seconds)
    return attempts


def _kill_worker(service: Service, fault: Fault) -> frozenset[UUID]:
    """All processes of one machine's worker; its runs and their supervisors live on."""
    node = NODES[fault.pick % len(NODES)]
    _signal(service.processes("worker", node), signal.SIGKILL)
    time.sleep(fault.seconds)
    service.start_worker(node)
    return frozenset()


def _kill_machine(service: Service, fault: Fault) -> frozenset[UUID]:
    """Worker, supervisors, runs of one machine, all at once."""
    node = NODES[fault.pick % len(NODES)]
    targets = [*service.processes("worker", node), *service.runs("", node)]
    attempts = _attempts(targets)
    _signal(targets, signal.SIGKILL)
    time.sleep(fault.seconds)
    service.start_worker(node)
    return attempts


def _third_control(service: Service, fault: Fault) -> frozenset[UUID]:
    """One more scheduler, reconciler and relay, which then dies without a word."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "CMAC_NODE_NAME": NODES[0]}
    with (service.home / "logs" / "third.log").open("ab") as log:
        command = [sys.executable, "-P", "-m", "worker", "control"]
        third = subprocess.Popen(command, cwd=service.home, env=environment, stdout=log, stderr=log)
    try:
        time.sleep(fault.seconds)
    finally:
        third.kill()
        third.wait()
    return frozenset()


def _restart_postgres(service: Service, fault: Fault) -> frozenset[UUID]:
    embedded.stop_postgres(settings())
    time.sleep(fault.seconds)
    embedded.start_postgres(settings())
    return frozenset()


def _crash_postgres(service: Service, fault: Fault) -> frozenset[UUID]:
    service.crash_postgres()
    time.sleep(fault.seconds)
    embedded.start_postgres(settings())
    return frozenset()


def _restart_redis(service: Service, fault: Fault) -> frozenset[UUID]:
    embedded.stop_redis(settings())
    time.sleep(fault.seconds)
    embedded.start_redis(settings())
    return frozenset()


def _wipe_redis(service: Service, fault: Fault) -> frozenset[UUID]:
    service.wipe_redis()
    time.sleep(fault.seconds)
    embedded.start_redis(settings())
    return frozenset()


def _repeat_messages(service: Service, fault: Fault) -> frozenset[UUID]:
    """The newest launch messages once more, in another order, and two that nobody ever sent."""
    with suppress(Exception), database.sessions() as session:
        rows = session.execute(select(Outbox.queue, Outbox.payload).order_by(Outbox.created_at.desc()).limit(12)).all()
        messages = [(to, dict(payload)) for to, payload in rows]
        messages += [(to, payload | {"epoch": int(payload["epoch"]) + 1}) for to, payload in messages[:1]]
        messages += [(to, {"attempt_id": str(uuid.UUID(int=fault.pick)), "epoch": 1}) for to, _ in messages[:1]]
        Random(fault.pick).shuffle(messages)
        with suppress(BrokerAway):
            for to, payload in messages:
                queue.send(to, payload)
    return frozenset()


def _lose_messages(service: Service, fault: Fault) -> frozenset[UUID]:
    """For a while nothing that is to be sent is ever sent, and what lies in the queue goes too."""
    end = time.monotonic() + fault.seconds
    while time.monotonic() < end:
        with suppress(Exception):
            unsent = update(Outbox).where(Outbox.sent_at.is_(None))
            database.transact(lambda session: session.execute(unsent.values(sent_at=func.now())))  # noqa: B023
        with suppress(Exception), queue.producer().connection_for_write() as connection:
            connection.default_channel.client.flushall()  # type: ignore[attr-defined]  # of kombu's Redis
        time.sleep(0.05)
    return frozenset()


_OTHERS: dict[str, Callable[[Service, Fault], frozenset[UUID]]] = {
    "supervisor hung": _hang_supervisor,
    "machine cut off": _cut_off,
    "machine frozen": _freeze_machine,
    "worker killed": _kill_worker,
    "machine killed": _kill_machine,
    "control thrice": _third_control,
    "postgres restarted": _restart_postgres,
    "postgres crashed": _crash_postgres,
    "redis restarted": _restart_redis,
    "redis wiped": _wipe_redis,
    "messages repeated": _repeat_messages,
    "messages lost": _lose_messages,
}
