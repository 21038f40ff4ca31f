"""The policy on a described cluster: a trace of submissions replayed by the very code that places jobs (QUEUE 4).

What it does not have: jobs that fail or are cancelled, machines that break. A preempted job does again what the trace
says of it (`redo_s`), without that nothing: it saves before it leaves. Jobs run for as long as the trace says; the
policy knows only for how long they were expected to.
"""

import itertools
import math
import statistics
import time
import uuid
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from store.line import HALF_LIFE_S
from store.policy import HOUR, PATIENCE, Free, Patience, Pending, Placement, Plan, Running, Spot, plan
from store.states import DeviceKind, Priority
from store.traces import Ask, Machine

SHORT_S = 600.0  # a slowdown counts a shorter job as this long, or seconds of waiting would be all that it tells
PASS_S = 60.0  # events within it are looked at together
GPU = DeviceKind.gpu


class Run(NamedTuple):
    """What became of a submission; `start_s` is None when no machine could ever hold it."""

    ask: Ask
    start_s: float | None  # the first time
    end_s: float | None
    node: str | None  # the last one; several with a comma between
    preempted: int = 0  # times
    redone_s: float = 0.0

    @property
    def wait_s(self) -> float:
        """All the time in line, also after it had to leave."""
        ran_s = self.ask.runtime_s + self.redone_s
        return math.inf if self.end_s is None else self.end_s - self.ask.submitted_s - ran_s


class Replay(NamedTuple):
    runs: list[Run]
    passes_s: list[float]  # wall time of each pass
    preemption: bool  # whether jobs had to leave for others at all


class Ledger:
    """Who has used how much of late, as `line.used` computes it from leases."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, str], float] = {}
        self._holds: dict[tuple[str, str], int] = {}
        self._at = 0.0

    def advance(self, now: float) -> None:
        """Let time pass: what was used fades, what is held is added."""
        fade = 2.0 ** (-(now - self._at) / HALF_LIFE_S)
        gained = HALF_LIFE_S / math.log(2) * (1 - fade)
        for who, gpus in self._holds.items():
            self.used[who] = self.used.get(who, 0.0) * fade + gpus * gained
        for who in self.used.keys() - self._holds.keys():
            self.used[who] *= fade
        self._at = now

    def hold(self, ask: Ask, gpus: int) -> None:
        """Devices taken (or, negative, given back) now."""
        who = (ask.project, ask.user)
        self._holds[who] = self._holds.get(who, 0) + gpus
        if not self._holds[who]:
            del self._holds[who]


class _Held(NamedTuple):
    start_s: float
    end_s: float
    ask: Ask
    spots: tuple[Spot, ...]


class _Lab:
    """Machines and jobs at one moment of a replay."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self.nodes = {uuid.uuid4(): machine for machine in machines}
        self.free = {node: [uuid.uuid4() for _ in range(machine.gpus)] for node, machine in self.nodes.items()}
        self.waiting: dict[uuid.UUID, Ask] = {}
        self.held: dict[uuid.UUID, _Held] = {}
        self.runs: dict[uuid.UUID, Run] = {}
        self.ledger = Ledger()
        self._left: dict[uuid.UUID, float] = {}  # of jobs that had to leave: what they still have to run

    def end(self, now: float) -> None:
        """Jobs that have run for as long as they do."""
        for job in [job for job, one in self.held.items() if one.end_s <= now]:
            self._give_back(job)

    def plan(self, now: float, patience: Patience) -> Plan:
        """What the policy would do now."""
        return plan(
            [_pending(job, ask) for job, ask in self.waiting.items()],
            [Free(node, one.name, GPU, tuple(self.free[node]), one.gpus) for node, one in self.nodes.items()],
            [spot for job, one in self.held.items() for spot in _running(job, one, now)],
            self.ledger.used,
            now=datetime.fromtimestamp(now, UTC),
            patience=patience,
        )

    def start(self, placement: Placement, now: float) -> None:
        """Give a job its devices."""
        ask = self.waiting.pop(placement.job)
        for spot in placement.spots:
            taken = set(spot.devices)
            self.free[spot.node] = [device for device in self.free[spot.node] if device not in taken]
        end_s = now + self._left.pop(placement.job, ask.runtime_s)
        self.held[placement.job] = _Held(now, end_s, ask, placement.spots)
        self.ledger.hold(ask, ask.gpus)
        was = self.runs.get(placement.job, Run(ask, now, None, None))
        names = ",".join(self.nodes[spot.node].name for spot in placement.spots)
        self.runs[placement.job] = was._replace(end_s=end_s, node=names)

    def leave(self, job: uuid.UUID, now: float) -> None:
        """Put a job back into the line, with what it has to do again."""
        over, was = self._give_back(job), self.runs[job]
        left_s = over.end_s - now
        lost_s = min(over.ask.redo_s, over.ask.runtime_s - left_s)
        self._left[job], self.waiting[job] = left_s + lost_s, over.ask
        self.runs[job] = was._replace(preempted=was.preempted + 1, redone_s=was.redone_s + lost_s)

    def _give_back(self, job: uuid.UUID) -> _Held:
        over = self.held.pop(job)
        for spot in over.spots:
            self.free[spot.node] += spot.devices
        self.ledger.hold(over.ask, -over.ask.gpus)
        return over


def replay(
    asks: Sequence[Ask], machines: Sequence[Machine], pass_s: float = PASS_S, *, preemption: bool = True
) -> Replay:
    """Every submission placed by the policy, which looks at the queue whenever something happened."""
    patience = PATIENCE if preemption else PATIENCE._replace(preempt_after_s=math.inf)
    lab, passes = _Lab(machines), list[float]()
    coming = deque((uuid.UUID(int=i), ask) for i, ask in enumerate(asks))
    again, now = False, 0.0
    while coming or lab.held or again:
        events = [one.end_s for one in lab.held.values()] + [ask.submitted_s for _, ask in itertools.islice(coming, 1)]
        events += _ends_of_patience(lab.waiting.values(), lab.held.values(), now, patience) if preemption else []
        # Devices of those that had to leave are given out in the next pass.
        now = now + pass_s if again else math.ceil(min(events) / pass_s) * pass_s
        again = False
        lab.ledger.advance(now)
        while coming and coming[0][1].submitted_s <= now:
            job, ask = coming.popleft()
            lab.waiting[job] = ask
        lab.end(now)
        if not lab.waiting:
            continue
        began = time.perf_counter()
        made = lab.plan(now, patience)
        passes.append(time.perf_counter() - began)
        for placement in made.placements:
            lab.start(placement, now)
        for job in made.victims:
            lab.leave(job, now)
        again = bool(made.victims)
    never = [Run(ask, None, None, None) for ask in lab.waiting.values()]
    return Replay([*lab.runs.values(), *never], passes, preemption)


def _ends_of_patience(waiting: Collection[Ask], held: Collection[_Held], now: float, patience: Patience) -> list[float]:
    """When one that waits may have others leave, and when one that runs may have to: later than now."""
    highest = min((ask.priority.rank for ask in waiting), default=math.inf)
    lowest = max((one.ask.priority.rank for one in held), default=-math.inf)
    found = [ask.submitted_s + patience.preempt_after_s for ask in waiting if ask.priority.rank < lowest]
    found += [one.start_s + patience.least_run_s for one in held if one.ask.priority.rank > highest]
    return [moment for moment in found if moment > now]


def _pending(job: uuid.UUID, ask: Ask) -> Pending:
    tier, age = ask.priority.rank, ask.submitted_s
    return Pending(job, GPU, ask.gpus, 0.0, "", tier, ask.project, ask.user, age, ask.expected_s, nodes=ask.nodes)


def _running(job: uuid.UUID, held: _Held, now: float) -> list[Running]:
    elapsed, ask = now - held.start_s, held.ask
    left_s = max(ask.expected_s - elapsed, 60.0)
    found = Running(
        job, job, GPU, 0, left_s, project=ask.project, owner=ask.user, tier=ask.priority.rank,
        preemptible=ask.preemptible, ran_s=elapsed, unsaved_s=min(ask.redo_s, elapsed),
    )  # fmt: skip
    return [found._replace(node=spot.node, devices=len(spot.devices)) for spot in held.spots]


def report(found: Replay, machines: Sequence[Machine]) -> dict[str, Any]:
    """Waits, utilisation and fairness of a replay, ready to be printed."""
    runs = [run for run in found.runs if run.start_s is not None]
    gpus = sum(machine.gpus for machine in machines)
    begin = min(run.ask.submitted_s for run in found.runs)
    end = max((run.end_s or begin for run in runs), default=begin)
    busy = sum(run.ask.gpus * run.ask.runtime_s for run in runs)
    users = sorted({(run.ask.project, run.ask.user) for run in runs})
    of = {who: [run for run in runs if (run.ask.project, run.ask.user) == who] for who in users}
    slow = [statistics.mean(map(slowdown, of[who])) for who in users]
    return {
        "jobs": len(found.runs),
        "never": len(found.runs) - len(runs),
        "preemption": found.preemption,
        "preemptions": sum(run.preempted for run in runs),
        "gpus": gpus,
        "span_h": round((end - begin) / HOUR, 2),
        "utilization": round(busy / (gpus * (end - begin)), 4) if end > begin else None,
        "wait": _told(runs),
        "by_priority": {str(tier): _told(some) for tier in Priority if (some := _of(runs, tier))},
        "by_user": [
            {"project": who[0], "user": who[1], **_told(of[who]), "gpu_hours": _gpu_hours(of[who]), "slowdown": one}
            for who, one in zip(users, (round(one, 2) for one in slow), strict=True)
        ],
        "fairness": round(jain(slow), 4) if slow else None,
        "passes": len(found.passes_s),
        "pass_ms": _spread([1000 * seconds for seconds in found.passes_s]),
    }


def _of(runs: Sequence[Run], tier: Priority) -> list[Run]:
    return [run for run in runs if run.ask.priority is tier]


def _gpu_hours(runs: Iterable[Run]) -> float:
    return round(sum(run.ask.gpus * run.ask.runtime_s for run in runs) / HOUR, 1)


def slowdown(run: Run) -> float:
    """Time from submission to end over time of running; jobs under ten minutes count as ten minutes long."""
    return (run.wait_s + run.ask.runtime_s) / max(run.ask.runtime_s, SHORT_S)


def jain(values: Sequence[float]) -> float:
    """Jain's index: 1 when all are equal, 1 / n when one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value**2 for value in values))


def waits(runs: Sequence[Run]) -> dict[str, Any]:
    """How many jobs, and how long they waited, in hours."""
    return {"jobs": len(runs), **{f"wait_{name}_h": v for name, v in _spread([r.wait_s / HOUR for r in runs]).items()}}


def _told(runs: Sequence[Run]) -> dict[str, Any]:
    """Their waits, how many of them had to leave for others, and GPU-hours of work done twice for that."""
    redone = sum(run.ask.gpus * run.redone_s for run in runs) / HOUR
    return {**waits(runs), "preempted": sum(run.preempted > 0 for run in runs), "redone_gpu_hours": round(redone, 2)}


def _spread(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    if not ordered:
        return {"median": 0.0, "p95": 0.0, "max": 0.0}
    p95 = ordered[max(0, math.ceil(0.95 * len(ordered)) - 1)]
    return {"median": round(statistics.median(ordered), 3), "p95": round(p95, 3), "max": round(ordered[-1], 3)}
