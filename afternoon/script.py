"""What happens in the afternoon, in order. Each step waits for the one before: a slow machine plays the same story."""

import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from afternoon.lab import PROJECTS, Lab
from chaos.people import NOTHING, insist
from chaos.program import KEPT, KIND, Course
from chaos.service import send
from client.job import Job

PACE_S = 0.5  # a step
GRACE_S = 5.0
PATIENCE_S = 240.0  # for a step to become possible; a machine with nothing else to do needs a tenth


@dataclass(frozen=True)
class Ask:
    """A job that somebody submits: its GPUs, how long it works, and how much longer it says that it may."""

    who: str
    name: str
    gpus: int
    seconds: float
    nodes: int = 1
    tier: str = "normal"

    @property
    def course(self) -> Course:
        return Course(sum(self.name.encode()), int(self.seconds / PACE_S), PACE_S)

    @property
    def limit_s(self) -> float:
        return 2 * self.seconds + 10

    def spec(self) -> dict[str, Any]:
        labels, project = self.course.labels(), PROJECTS[self.who]
        queue = {"project": project, "priority": self.tier, "labels": labels}
        return {
            "kind": KIND, "name": self.name, "preset": "small", "dataset": NOTHING, "checkpoint": {"random_init": True},
            "seed": self.course.seed, "resources": {"gpus": self.gpus, "nodes": self.nodes},
            "optim": {"batch": 32}, "bn_group": 2, "checkpoints": {"keep": KEPT},
            "queue": queue | {"grace_s": GRACE_S, "walltime_s": self.limit_s},
        }  # fmt: skip


@dataclass
class Story:
    """What was done: who asked for what, and what befell the machines."""

    began: datetime
    asks: dict[str, Ask] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    drained: str = ""
    lost: str = ""
    lost_at: datetime | None = None


class Script:
    """`scale`: of how long jobs work."""

    def __init__(self, lab: Lab, scale: float = 1.0) -> None:
        self.lab, self.scale = lab, scale
        self.story = Story(datetime.now(UTC))

    def play(self) -> Story:
        """All of it, until every job has ended. Raises TimeoutError when a step does not become possible."""
        self._a_wide_job_is_kept_room()
        self._two_projects_share()
        self._a_greedy_batch_meets_its_quota()
        self._a_deadline_preempts()
        self._a_machine_is_drained()
        self._a_machine_is_lost()
        self._until("all jobs have ended", lambda: all(insist(job.refresh).final for job in self.story.jobs.values()))
        return self.story

    def _a_wide_job_is_kept_room(self) -> None:
        """Nearly all is taken when a job wants two whole machines; a short job may go first, a long one may not."""
        first = [("eva", "embed", 4, 30), ("ana", "mix", 4, 24), ("ana", "probe", 2, 20), ("eva", "tune", 4, 30)]
        self._until_running(*(self._submit(*one) for one in first))
        self._until_waiting(self._submit("ben", "wide", 8, 10, nodes=2), "resources")
        self._until_waiting(self._submit("ana", "slow", 2, 40), "reserved")
        self._until_placed(self._submit("eva", "quick", 2, 4))

    def _two_projects_share(self) -> None:
        """Eva, whose project has used more by then, asks first; there is not enough for all when GPUs come free."""
        for one in (("eva", "second", 4, 30), ("eva", "third", 2, 30), ("ana", "follow", 4, 30)):
            self._submit(*one)

    def _a_greedy_batch_meets_its_quota(self) -> None:
        """Ben's low batch takes what he may have and no more, though others leave GPUs free for a while."""
        sweep = [self._submit("ben", f"sweep-{place}", 2, 24, tier="low") for place in range(1, 7)]
        self._until_running(self._job("wide"))
        self._until_waiting(sweep[0], "quota")

    def _a_deadline_preempts(self) -> None:
        """All GPUs are taken; whoever has a deadline gets two, from whom it costs least."""
        self._until(
            "a job of the batch runs and all GPUs are taken", lambda: self._of_batch("running") and self._is_full()
        )
        deadline = self._submit("ana", "deadline", 2, 8, tier="urgent")
        self._until("deadline has met it", lambda: insist(deadline.refresh).final)

    def _a_machine_is_drained(self) -> None:
        """Its jobs go elsewhere, and what waits for a whole machine does not get this one before it is ready again."""
        self._until_running(self._submit("ben", "sweep-7", 2, 24, tier="low"))
        self.story.drained = node = self._node_of("sweep-7")
        insist(lambda: self.lab.admin.set_node(node, "drain", "a fan is loud"))
        self._until(f"{node} is empty", lambda: not self._jobs_on(node))
        self._submit("eva", "after", 4, 12, tier="low")
        time.sleep(6 * self.scale)
        insist(lambda: self.lab.admin.set_node(node, "ready"))

    def _a_machine_is_lost(self) -> None:
        """Power is gone: its jobs go on elsewhere from what they have saved."""
        night = self._submit("eva", "night", 2, 16)
        self._until("night has saved", lambda: any(event["type"] == "checkpoint" for event in night.history()))
        self.story.lost = node = self._node_of("night")
        self.story.lost_at = datetime.now(UTC)
        service = self.lab.service
        for process in [*service.processes("worker", node), *service.runs("", node)]:
            send(process, signal.SIGKILL)

    def _of_batch(self, state: str) -> list[str]:
        jobs = [job for name, job in self.story.jobs.items() if name.startswith("sweep")]
        return [job.name for job in jobs if insist(job.refresh).state == state]

    def _submit(self, who: str, name: str, gpus: int, seconds: float, **more: Any) -> Job:
        ask = Ask(who, name, gpus, seconds * self.scale, **more)
        self.story.asks[name] = ask
        self.story.jobs[name] = insist(lambda: self.lab.people[who].submit(ask.spec(), idempotency_key=name))
        return self.story.jobs[name]

    def _job(self, name: str) -> Job:
        return self.story.jobs[name]

    def _jobs_on(self, node: str) -> list[str]:
        return _held(insist(lambda: self.lab.admin.node(node)))

    def _is_full(self) -> bool:
        nodes = insist(lambda: list(self.lab.admin.nodes()))
        return all(device["lease"] for node in nodes for device in node["devices"] if device["kind"] == "gpu")

    def _node_of(self, name: str) -> str:
        """The machine of a job that runs."""
        nodes = insist(lambda: list(self.lab.admin.nodes()))
        return str(next(node["name"] for node in nodes if self._job(name).id in _held(node)))

    def _until_running(self, *jobs: Job) -> None:
        """All of them at once."""
        self._until(f"{_names(jobs)} run", lambda: all(insist(job.refresh).state == "running" for job in jobs))

    def _until_placed(self, job: Job) -> None:
        self._until(f"{job.name} is placed", lambda: insist(job.refresh).state != "queued")

    def _until_waiting(self, job: Job, code: str) -> None:
        self._until(
            f"{job.name} waits for {code}", lambda: (insist(job.refresh).row["waiting"] or {}).get("code") == code
        )

    def _until(self, what: str, true: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not true():
            if time.monotonic() > end:
                raise TimeoutError(f"{what}: not within {PATIENCE_S:g} s")
            time.sleep(0.3)


def _held(node: dict[str, Any]) -> list[str]:
    return [str(device["lease"]["job"]) for device in node["devices"] if device["lease"]]


def _names(jobs: Iterable[Job]) -> str:
    return ", ".join(job.name for job in jobs)
