"""What users and projects hold of what they may."""

from collections.abc import Sequence
from uuid import UUID

from store.policy.values import FREE_OF_LIMITS, Limits, Pending, Running
from store.states import DeviceKind


class Quotas:
    """What users and projects hold of what they may, while a plan is made."""

    def __init__(self, limits: Limits, running: Sequence[Running]) -> None:
        self._limits = limits
        self._gpus: dict[str, int] = {}
        self._jobs: dict[str, set[UUID]] = {}
        for one in running:
            self._count(one.job, one)

    def take(self, job: Pending) -> None:
        """Count a job that has its devices."""
        self._count(job.id, job)

    def _count(self, job: UUID, holds: Pending | Running) -> None:
        if self._limits and holds.kind is DeviceKind.gpu:
            for subject in (f"user:{holds.owner}", f"project:{holds.project}"):
                self._gpus[subject] = self._gpus.get(subject, 0) + holds.devices
                self._jobs.setdefault(subject, set()).add(job)  # one on several nodes is one

    def refuses(self, job: Pending) -> str | None:
        """Why a job has to wait for others of its owner or project; None when it has not."""
        if not self._limits or job.kind is not DeviceKind.gpu:
            return None
        for whose, subject in (("your", f"user:{job.owner}"), (f"project {job.project}'s", f"project:{job.project}")):
            limit = self._limits.get(subject, FREE_OF_LIMITS)
            gpus, jobs = self._gpus.get(subject, 0), len(self._jobs.get(subject, ()))
            if limit.gpus is not None and gpus + job.devices > limit.gpus:
                more = f"; this one needs {job.devices}" if job.devices > 1 else ""
                return f"{whose} running jobs hold {gpus} of the {limit.gpus} GPUs allowed{more}"
            if limit.running is not None and jobs >= limit.running:
                return f"{whose} running jobs are {jobs} of the {limit.running} allowed"
        return None
