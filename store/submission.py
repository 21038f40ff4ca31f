"""A spec against what there is: names become versions, defaults numbers, and everything wrong is told at once."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cmac_core.specs import JOB_SPEC, Finetune, Import, JobSpec, Pack, Pretrain, Queue, SoundingObjects
from cmac_core.specs.problems import FieldProblem
from store import compatibility, facts, quotas, roots, shards
from store.capacity import Capacity, Machine
from store.errors import (
    Forbidden,
    Incompatible,
    Infeasible,
    InvalidSpec,
    QuotaExceeded,
    SpecProblem,
    UnknownReference,
)
from store.keys import Principal, Role
from store.policy import ANYWHERE, Wants
from store.references import References
from store.settings import settings
from store.states import FINAL, JobState, Priority
from store.tables import Dataset, Job

CHECKPOINT_BYTES = 16 * 33_000_000 * 2  # both encoders with momentum and keys at width 64, roughly


@dataclass
class Resolved:
    """A spec that can run, and what its names stand for."""

    spec: JobSpec
    rank: int
    body: dict[str, Any] = field(default_factory=dict)  # the spec as it is stored
    gpus: int = 0
    cpu_slots: int = 0
    wants: Wants = ANYWHERE
    dataset: Dataset | None = None
    checkpoint_id: UUID | None = None
    checkpoint_job: UUID | None = None
    parents: dict[UUID, str] = field(default_factory=dict)
    waits: bool = False  # some parent is not final yet
    feasible_nodes: list[str] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)  # pointer, message

    @property
    def sha256(self) -> str:
        """Of the canonical JSON of the spec."""
        text = json.dumps(self.body, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


class Findings:
    """Everything that is wrong, collected before anything is said."""

    def __init__(self) -> None:
        self.problems: list[tuple[type[SpecProblem], FieldProblem]] = []
        self.members: dict[str, Any] = {}

    def add(
        self, kind: type[SpecProblem], pointer: str, message: str, got: Any = None, hint: str | None = None
    ) -> None:
        self.problems.append((kind, FieldProblem(pointer, message, got, hint)))

    def raise_if_any(self) -> None:
        """One error with all problems; its kind is that of the most basic one."""
        for kind in (UnknownReference, InvalidSpec, Incompatible, Infeasible):
            if any(found is kind for found, _ in self.problems):
                members = self.members if kind is Infeasible else {}
                raise kind([problem for _, problem in self.problems], **members)


def resolve(session: Session, spec: JobSpec, principal: Principal) -> Resolved:
    """Check one spec and its submitter. Locks the parents and raises as `jobs.submit` says."""
    check_rights(session, spec.queue, principal)
    return check(References(session, principal), spec)


def check(references: References, spec: JobSpec) -> Resolved:
    """Check and resolve; for who resolves many specs at once and has checked rights and quota for all.

    Locks the parents. Raises InvalidSpec, UnknownReference, Incompatible, Infeasible.
    """
    found = Findings()
    resolved = Resolved(spec=spec, rank=Priority(spec.queue.priority).rank)
    if not references.projects[spec.queue.project]:
        found.add(UnknownReference, "/queue/project", f"there is no project {spec.queue.project!r}", spec.queue.project)
    compatibility.find_parents(references, resolved, found)
    if isinstance(spec, Pack | Import):
        _check_source(references.session, spec, found)
        if isinstance(spec, Pack):
            shards.check(references, resolved, found)
    else:
        compatibility.check_references(references, resolved, found)
    _give_resources(references.capacity, resolved, found)
    found.raise_if_any()
    resolved.waits = any(parent.state not in FINAL for one in resolved.parents if (parent := references.parents[one]))
    # Validated anew, so that what is stored is what any reader would read.
    body = spec.model_dump(mode="json")
    if resolved.dataset is not None:
        body["dataset"] = resolved.dataset.reference
    body["resources"] |= {"gpus": resolved.gpus or None, "cpu_slots": resolved.cpu_slots or None}
    if body.get("precision") == "auto":
        body["precision"] = "bf16" if resolved.gpus else "fp32"
    resolved.spec = JOB_SPEC.validate_python(body)
    resolved.body = resolved.spec.model_dump(mode="json")
    return resolved


def check_rights(session: Session, queue: Queue, principal: Principal) -> None:
    """Raises Forbidden (role; urgent; foreign project) and QuotaExceeded."""
    principal.require(Role.submitter)
    if not principal.sees(queue.project):
        raise Forbidden(f"your key is for the project {principal.project}, not for {queue.project}")
    if queue.priority == "urgent" and not principal.role.includes(Role.operator):
        raise Forbidden("priority urgent is for operators", needs_role=str(Role.operator))
    check_queued(session, principal, 1)


def check_queued(session: Session, principal: Principal, count: int) -> None:
    """Raises QuotaExceeded when so many more of their jobs may not wait."""
    used, limit = quotas.waiting(session, principal.user, settings().queued_per_user)
    if used + count > limit:
        more = f"this makes {count:,} jobs and " if count > 1 else ""
        message = f"{more}{used:,} of your jobs are waiting; the limit is {limit:,}"
        raise QuotaExceeded(message, limit=limit, used=used)


def cost(session: Session, resolved: Resolved) -> dict[str, Any]:
    """What the run may take: by the median of finished jobs of its kind, else unknown."""
    spent = func.extract("epoch", Job.ended_at - Job.started_at)
    done = (Job.kind == resolved.spec.kind, Job.state == JobState.succeeded, Job.started_at.is_not(None))
    median, p90 = session.execute(
        select(func.percentile_cont(0.5).within_group(spent), func.percentile_cont(0.9).within_group(spent)).where(
            *done
        )
    ).one()
    hours = None
    if median is not None:
        hours = {"expected": float(median) * resolved.gpus / 3600, "p90": float(p90) * resolved.gpus / 3600}
    price = settings().gpu_hour_price
    return {
        "basis": "history" if median is not None else "default",
        "wall_s": None if median is None else float(median),
        "gpu_hours": hours,
        "cost": {"amount": hours["expected"] * price, "currency": "EUR"} if hours and price else None,
        "disk_bytes": _disk_bytes(resolved.spec),
    }


def _disk_bytes(spec: JobSpec) -> int | None:
    if not isinstance(spec, Pretrain):
        return None
    plan, passes = spec.checkpoints, spec.optim.epochs
    kept = plan.keep + plan.keep_best + (passes // plan.keep_every if plan.keep_every else 0)
    if plan.keep == 0:
        kept = passes // plan.every_epochs
    return int(CHECKPOINT_BYTES * (spec.model.width / 64) ** 2) * (kept + 1)


def _check_source(session: Session, spec: Pack | Import, found: Findings) -> None:
    if isinstance(spec.source, SoundingObjects):
        return
    source, find = spec.source.root, roots.resolve_file if isinstance(spec, Import) else roots.resolve
    try:
        find(session, source, spec.source.path)
    except ValueError as error:
        unknown_root = "no root" in str(error)
        pointer = "/source/root" if unknown_root else "/source/path"
        got = source if unknown_root else spec.source.path
        found.add(UnknownReference if "there is no" in str(error) else InvalidSpec, pointer, str(error), got)


def _give_resources(known: Capacity, resolved: Resolved, found: Findings) -> None:
    """Devices asked for, or the default: a GPU a node, else CPU slots; a pretraining all that divide its batch."""
    spec = resolved.spec
    asked = spec.resources
    resolved.wants = facts.wants(asked.gpu_model, asked.node_labels)
    fit = known.wanted(resolved.wants)
    if asked.nodes > 1 and not isinstance(spec, Pretrain | Finetune):
        message = f"a {spec.kind} runs as one process on one machine; trainings alone share several"
        found.add(InvalidSpec, "/resources/nodes", message, asked.nodes, "leave it out")
    if asked.gpus is not None:
        resolved.gpus = asked.gpus
    elif asked.cpu_slots is not None:
        resolved.cpu_slots = asked.cpu_slots
    elif asked.gpu_model or (fit.gpus and not isinstance(spec, Pack | Import)):
        resolved.gpus = asked.nodes
    elif isinstance(spec, Pretrain):
        fitting = (n for n in range(fit.cpu_slots, 0, -1) if compatibility.divides(spec, n * asked.nodes))
        resolved.cpu_slots = next(fitting, max(1, fit.cpu_slots)) * asked.nodes
    else:
        resolved.cpu_slots = asked.nodes
    if isinstance(spec, Pretrain | Finetune):
        compatibility.check_batch(spec, resolved.gpus or resolved.cpu_slots, found)
    resolved.feasible_nodes = known.that_fit(resolved.gpus, resolved.cpu_slots, asked.nodes, resolved.wants)
    if not resolved.feasible_nodes:
        _refuse(known, resolved, found)


def _refuse(known: Capacity, resolved: Resolved, found: Findings) -> None:
    """Say what no machine has."""
    asked, fit = resolved.spec.resources, known.wanted(resolved.wants)
    devices, what = (resolved.gpus, "GPUs") if resolved.gpus else (resolved.cpu_slots, "CPU slots")
    has = fit.gpus if resolved.gpus else fit.cpu_slots
    pointer = "/resources/gpus" if resolved.gpus else "/resources/cpu_slots"
    got: Any = devices
    each = devices // asked.nodes
    where = "one machine" if asked.nodes == 1 else f"each of {asked.nodes} machines"
    message = f"needs {each} {what} on {where}{resolved.wants}; the largest has {has} {what}"
    if not known.nodes:
        message = "no machine has joined yet; start a worker (cmac up) and submit again"
    elif not fit.nodes:
        labels = not known.wanted(Wants(None, resolved.wants.labels)).nodes
        pointer = "/resources/node_labels" if labels else "/resources/gpu_model"
        got = asked.node_labels if labels else asked.gpu_model
        message = f"there is no machine{resolved.wants}; known: {', '.join(map(_told, known.nodes))}"
    elif each <= has:
        pointer, got = "/resources/nodes", asked.nodes
        there = ", ".join(map(_told, fit.nodes))
        message = (
            f"needs {each} {what} on {where}{resolved.wants} with one GPU model and one storage; there are: {there}"
        )
    found.add(Infeasible, pointer, message, got)
    found.members = {
        "needs": {"gpus": resolved.gpus, "cpu_slots": resolved.cpu_slots, "nodes": asked.nodes},
        "largest": {"gpus": fit.gpus, "cpu_slots": fit.cpu_slots},
    }


def _told(machine: Machine) -> str:
    has = [f"{machine.gpus} {machine.model}"] if machine.gpus else []
    has += [f"{machine.cpu_slots} CPU slots"] if machine.cpu_slots else []
    labels = [f"{key}={value}" for key, value in sorted(machine.labels.items())]
    return f"{machine.name} ({', '.join([*has, *labels])})"
