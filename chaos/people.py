"""Those who submit jobs and change their minds, over REST, while things break: each asks until it is answered."""

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from chaos.program import KEPT, KIND
from chaos.schedule import Request, Schedule
from client.api import Client
from client.errors import ApiError, IllegalMove, ServiceAway
from client.job import Job
from store.settings import settings

T = TypeVar("T")

PATIENCE = 300.0  # s that somebody goes on asking, under the default lease times
NOTHING, CLIPS = "nothing", "clips"  # datasets: of the programs, which read none, and of the real core
PACK: dict[str, Any] = {
    "kind": "pack", "dataset": CLIPS, "short_side": 48, "resources": {"cpu_slots": 1},
    "source": {"generate": "sounding-objects", "clips": 16, "classes": 2, "size": 48, "seconds": 1.5},
}  # fmt: skip
TRAINING: dict[str, Any] = {
    "kind": "pretrain", "dataset": CLIPS, "scale": "small", "resources": {"cpu_slots": 1},
    "data": {"frames": 4, "fps": 8, "crop": 32, "short_side": [32, 40], "workers": 0},
    "model": {"width": 4, "head": {"dim": 16}, "saliency": {"hidden": 8}, "bn_group": 4},
    "moco": {"K": 16}, "optim": {"batch": 8, "epochs": 12, "warmup_epochs": 0},
    "checkpoints": {"every_epochs": 2, "keep": 0},
}  # fmt: skip


class People:
    """What was asked for in one run. `jobs`: request's place -> the job's id, once the service has answered."""

    def __init__(self, client: Client, schedule: Schedule, began: float) -> None:
        self.client, self.schedule, self.began = client, schedule, began
        self.jobs: dict[int, str] = {}
        self.unanswered: list[str] = []
        self._submitted = [threading.Event() for _ in schedule.requests]

    def ask(self, place: int) -> None:
        """Submit, and later cancel or pause and resume, as the request says. For a thread of its own."""
        request = self.schedule.requests[place]
        self._sleep_until(request.at)
        try:
            job = self._submit(place, request)
            self._wish(place, job, request)
        except (ServiceAway, ApiError) as error:
            self.unanswered.append(f"{self.name_of(place)}: {error}")
        finally:
            self._submitted[place].set()

    def name_of(self, place: int) -> str:
        return f"{self.schedule.prefix}{place}"

    def _submit(self, place: int, request: Request) -> Job:
        key = f"{self.schedule.prefix}{place}/{self.began}"  # the same at every try
        spec = self._spec(place, request)
        job = insist(lambda: self.client.submit(spec, idempotency_key=key))
        self.jobs[place] = job.id
        self._submitted[place].set()
        return job

    def _spec(self, place: int, request: Request) -> dict[str, Any]:
        name: dict[str, Any] = {"name": self.name_of(place)}
        if request.course is None:
            return TRAINING | name
        after = []
        if request.edge != "none":
            self._submitted[place - 1].wait(patience())
            after = [{"job": self.jobs[place - 1], "kind": request.edge}] if place - 1 in self.jobs else []
        queue = {"labels": request.course.labels(), "after": after, "grace_s": 5.0}
        return name | {
            "kind": KIND, "preset": "small", "dataset": NOTHING, "checkpoint": {"random_init": True},
            "seed": request.course.seed, "resources": {"cpu_slots": 1}, "checkpoints": {"keep": KEPT}, "queue": queue,
        }  # fmt: skip

    def _wish(self, place: int, job: Job, request: Request) -> None:
        time.sleep(request.wish_after if request.wish != "none" else 0)
        if request.wish == "cancel":
            self._await_follower(place)
            self._verb(job.cancel)
        elif request.wish == "pause" and self._verb(job.pause):
            time.sleep(request.resume_after)
            end = time.monotonic() + patience()
            while not self._verb(job.resume) and not insist(job.refresh).final and time.monotonic() < end:
                time.sleep(0.3)  # it is still stopping

    def _await_follower(self, place: int) -> None:
        """Until the job that is to follow this one is there: none may follow one that was cancelled."""
        after = place + 1
        if after < len(self.schedule.requests) and self.schedule.requests[after].edge != "none":
            self._submitted[after].wait(patience())

    def _verb(self, verb: Callable[[], object]) -> bool:
        """Whether the job was in a state to do it."""
        try:
            insist(verb)
        except IllegalMove:
            return False
        return True

    def _sleep_until(self, at: float) -> None:
        time.sleep(max(0.0, self.began + at - time.monotonic()))


def patience() -> float:
    """Seconds, under this service's lease times."""
    return settings().times.scaled(PATIENCE)


def insist(call: Callable[[], T]) -> T:
    """Ask until there is an answer. Raises ServiceAway when there is none for long, ApiError for a plain no."""
    end = time.monotonic() + patience()
    while True:
        try:
            return call()
        except ServiceAway:
            if time.monotonic() > end:
                raise
        except ApiError as error:
            later = error.status in (429, 503) or error.code == "idempotency_in_progress"
            if not later:
                raise
            if time.monotonic() > end:
                raise ServiceAway(str(error)) from error
        time.sleep(0.3)
