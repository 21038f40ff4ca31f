"""What the lab does right now, asked again and again beside whoever draws it."""

import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

from client.api import Client
from client.errors import ClientError

Row = Mapping[str, Any]
AT_WORK = ("scheduled", "running", "stopping")
MOST = 500  # jobs of each list: more lines nobody scrolls through


class View(NamedTuple):
    """Machines, jobs at work (oldest first) and jobs that wait, in their order; `trouble` while it is out of date."""

    nodes: list[dict[str, Any]]
    running: list[dict[str, Any]]
    waiting: list[dict[str, Any]]
    at: float
    trouble: str = ""


def look(lab: Client) -> View:
    """The lab as it is. Raises ApiError, ServiceAway."""
    running = [job.row for job in lab.jobs(MOST, state=AT_WORK, sort="submitted_at")]
    return View(list(lab.nodes()), running, list(lab.queue(MOST)), time.time())


class Feed:
    """The newest view, renewed by a thread every `every_s`. A service that is away leaves the last one, and says so.

    Making one looks once: raises ApiError, ServiceAway.
    """

    def __init__(self, lab: Client, every_s: float) -> None:
        self._lab, self._every_s = lab, every_s
        self.view = look(lab)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._renew, daemon=True, name="feed")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._left.set()
        self._thread.join(timeout=1.0)  # one that waits for an answer ends with the process

    def _renew(self) -> None:
        while not self._left.wait(self._every_s):
            try:
                self.view = look(self._lab)
            except ClientError as error:
                self.view = self.view._replace(trouble=str(error).partition("\n")[0])
