"""`python -m worker`: the queue's side of one machine. Its three processes come and go; trainings are none of them."""

import argparse
import logging
import signal
import sys
import threading
import time
from collections.abc import Callable

from store import database
from store.settings import settings
from worker import logs
from worker.processes import dying_with
from worker.settings import node_folder

log = logging.getLogger(__name__)


def main() -> None:
    """The whole worker, or the one of its processes that is named."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parts: dict[str, Callable[[], None]] = {"all": all_of_them, "consumer": consumer, "node": node, "control": control}
    parser.add_argument("part", nargs="?", choices=parts, default="all")
    parser.add_argument("--parent", type=int, help="end with this process")
    arguments = parser.parse_args()
    if arguments.parent:
        # A worker that is started anew meets no process of the old one. Said here, not between fork and exec: the
        # parent has threads.
        dying_with(arguments.parent, signal.SIGTERM)()
    logs.set_up()
    try:
        settings()
    except ValueError as error:
        sys.exit(f"The settings are not right: {error}")
    parts[arguments.part]()


def all_of_them() -> None:
    """Keep the three processes running until SIGTERM."""
    from worker.household import Household, member
    from worker.pulse import Pulse
    from worker.supervisor.locks import Busy, held

    try:
        with held(node_folder(), ["worker"], patience=5.0):
            household = Household([member(name) for name in ("node", "control", "consumer")])
            with Pulse(household.members[-1]):
                household.run()
    except Busy:
        sys.exit(f"A worker for node {settings().node_name!r} of this home runs already.")


def consumer() -> None:
    """Celery's part: the node's own queue."""
    from worker import here
    from worker.celery_app import consume

    node_id = None
    while node_id is None:  # until the node loop has registered this machine
        try:
            with database.sessions() as session:
                node_id = here.node_id(session)
        except Exception as error:
            log.warning("the database is away: %s", str(error).splitlines()[0])
        time.sleep(0 if node_id else 0.5)
    database.forget()  # the pool's processes are forked from this one
    consume(node_id)


def node() -> None:
    """The node loop."""
    from worker.loops import Loop
    from worker.node import PAUSE, NodeLoop

    node_loop = NodeLoop()
    loop = Loop("node", node_loop.look, settings().times.scaled(PAUSE))
    node_loop.wake = loop.wake
    _until_told(loop.run, loop.stop)


def control() -> None:
    """Scheduler, reconciler, relay, webhooks."""
    from worker.control import Control

    loops = Control()
    _until_told(loops.run, loops.stop)


def _until_told(run: Callable[[], None], stop: Callable[[], None]) -> None:
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda *_: stop())
    thread = threading.Thread(target=run)
    thread.start()
    while thread.is_alive():
        thread.join(0.5)  # a join without end would keep signals waiting


if __name__ == "__main__":
    main()
