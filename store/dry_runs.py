"""What an experiment would make, before anything starts: every job with its steps and GPU-hours (API 2.4)."""

from typing import Any

from sqlalchemy.orm import Session

from cmac_core.experiments.cost import ASSUMED, FINETUNE, PAPER_VIDEOS, Cost, cost, trained_of
from cmac_core.experiments.expansion import Plan
from cmac_core.experiments.paper import CLIPS
from cmac_core.specs import Import, JobSpec, Pack, Pretrain, RandomInit
from cmac_core.specs.experiment import Experiment as Spec
from cmac_core.specs.method import Model
from store import compatibility, datasets, experiments, planned_jobs
from store.errors import QuotaExceeded, SpecProblem
from store.keys import Principal
from store.planned_jobs import Checked
from store.settings import settings
from store.tables import Dataset

JSON = dict[str, Any]


def estimate(session: Session, spec: Spec, principal: Principal) -> JSON:
    """The checks of a submission and what it would cost; nothing is stored.

    What a submission would be refused for stands under `problems`, so that the cost is known before the data are
    packed. Raises InvalidSpec (the spec itself is wrong), Forbidden.
    """
    plan = experiments.plan_of(spec)
    checked, problems = _check(session, plan, principal)
    rows = {place: new.row for place, new in checked.jobs.items()}
    resources = {place: {"gpus": row.gpus or None, "cpu_slots": row.cpu_slots or None} for place, row in rows.items()}
    counting = _Counting(session, principal)
    listed = [_job(plan, place, resources.get(place), counting) for place in range(len(plan.jobs))]
    return {
        "spec": spec.model_dump(mode="json"),
        "job_count": len(plan.jobs),
        "pretrainings": sum(isinstance(job.spec, Pretrain) for job in plan.jobs),
        "cells": len(plan.cells),
        "submittable": not problems,
        "problems": problems,
        "warnings": sorted({message for _, message in checked.warnings}),
        "estimate": _sum(listed),
        "assumptions": [ASSUMED, *sorted(counting.assumed)],
        "jobs": listed,
    }


def _check(session: Session, plan: Plan, principal: Principal) -> tuple[Checked, list[JSON]]:
    try:
        checked = planned_jobs.check(session, plan, principal, {})
    except QuotaExceeded as over:
        return Checked(), [{"code": over.code, "pointer": "", "message": over.detail, "hint": None}]
    return checked, [_problem(kind, one) for kind, one in checked.problems]


def _problem(kind: type[SpecProblem], one: Any) -> JSON:
    return {"code": kind.code, "pointer": one.pointer, "message": one.message, "hint": one.hint}


class _Counting:
    """How many clips a job works on, and what had to be assumed for that."""

    def __init__(self, session: Session, principal: Principal) -> None:
        self._session, self._principal = session, principal
        self._known: dict[str, Dataset | None] = {}
        self.assumed: set[str] = set()

    def clips(self, spec: JobSpec) -> int | None:
        """None: the dataset is not packed and not one of the paper's."""
        if isinstance(spec, Pack | Import):
            return None
        name = spec.dataset
        if name not in self._known:
            self._known[name] = datasets.find(self._session, name, self._principal)
        dataset = self._known[name]
        if dataset is not None:
            return compatibility.clips_for(spec, dataset)
        usual = PAPER_VIDEOS if isinstance(spec, Pretrain) and spec.scale != "small" else CLIPS.get(name.split("@")[0])
        if usual is not None:
            self.assumed.add(f"{name} is not packed: counted with the paper's {usual:,} clips")
        return usual


def _job(plan: Plan, place: int, resources: JSON | None, counting: _Counting) -> JSON:
    planned, cells = plan.jobs[place], plan.cells_of(place)
    spec = planned.spec
    clips = counting.clips(spec)
    found = _cost(plan, place, clips)
    if spec.kind == FINETUNE and clips is not None:
        assert not isinstance(spec, Import)
        trained = trained_of(spec, clips)
        counting.assumed.add(f"{spec.dataset}: {trained:,} of {clips:,} clips are fine-tuned on in a split")
    first = cells[0]
    return {
        "cell": first.name,
        "shared_with": [cell.name for cell in cells[1:]],
        "name": spec.name,
        "kind": spec.kind,
        "dataset": None if isinstance(spec, Import) else spec.dataset,
        "seed": spec.seed,
        "waits_for": None if planned.parent is None else plan.cells_of(planned.parent)[0].name,
        "clips": clips,
        "train_epochs": spec.optim.epochs if isinstance(spec, Pretrain) else None,
        "steps_per_epoch": found.steps_per_epoch,
        "steps": found.steps,
        "resources": resources,
        "flops": found.flops,
        "gpu_hours": found.gpu_hours,
        "unknown": found.unknown or None,
    }


def _cost(plan: Plan, place: int, clips: int | None) -> Cost:
    spec = plan.jobs[place].spec
    if clips is None:
        if isinstance(spec, Pack | Import):
            return Cost(unknown=f"{spec.kind}: it computes no network")
        return Cost(unknown=f"{spec.dataset} is not packed")
    return cost(spec, clips, _model(plan, place))


def _model(plan: Plan, place: int) -> Model:
    """The networks that a job trains or looks at."""
    planned = plan.jobs[place]
    if planned.parent is not None:
        return _model(plan, planned.parent)
    if isinstance(planned.spec, Pretrain):
        return planned.spec.model
    checkpoint = getattr(planned.spec, "checkpoint", None)
    return checkpoint.model if isinstance(checkpoint, RandomInit) else Model()


def _sum(listed: list[JSON]) -> JSON:
    """Over all jobs whose cost is known; the others are counted."""
    flops = [job["flops"] for job in listed if job["flops"] is not None]
    hours = [job["gpu_hours"] for job in listed if job["gpu_hours"] is not None]
    price = settings().gpu_hour_price
    total = sum(hours) if hours else None
    return {
        "basis": "model",
        "flops": sum(flops) if flops else None,
        "gpu_hours": None if total is None else {"expected": total},
        "cost": {"amount": total * price, "currency": "EUR"} if total is not None and price else None,
        "jobs_without_estimate": len(listed) - len(flops),
    }
