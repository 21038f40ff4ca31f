"""The policy on a described cluster: a trace of submissions replayed by the very code that places jobs (QUEUE 4).

What it does not have: jobs that fail or are cancelled, machines that break. A preempted job does again what the trace
says of it (`redo_s`), without that nothing: it saves before it leaves. Jobs run for as long as the trace says; the
policy knows only for how long they were expected to.
"""

import csv
import math
import re
import statistics
import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from store.line import HALF_LIFE_S, MARGIN
from store.policy import HOUR, PATIENCE, Free, Patience, Pending, Running, Spot, plan
from store.states import DeviceKind, Priority

COLUMNS = ("submitted", "user", "gpus", "runtime_s")
OPTIONAL = ("project", "priority", "expected_s", "nodes", "preemptible", "redo_s")
SHORT_S = 600.0  # a slowdown counts a shorter job as this long, or seconds of waiting would be all that it tells
PASS_S = 60.0  # events within it are looked at together
GPU = DeviceKind.gpu
TRUTHS = {"": False, "yes": True, "no": False, "true": True, "false": False, "1": True, "0": False}


class BadTrace(ValueError):
    """What is wrong with a trace or with the description of a cluster, and where."""


class Ask(NamedTuple):
    """One submission of a trace."""

    submitted_s: float
    user: str
    gpus: int
    runtime_s: float
    project: str
    priority: Priority
    expected_s: float
    nodes: int = 1  # that share the GPUs in equal parts
    preemptible: bool = False  # as `queue.preemptible`; one of the lowest tier always is
    redo_s: float = 0.0  # work that it does again after it had to leave, of what it had done


class Machine(NamedTuple):
    name: str
    gpus: int


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


def read_trace(path: Path) -> list[Ask]:
    """Submissions of a CSV file in order of time. Raises BadTrace, which names the line and the column."""
    try:
        with path.open(newline="") as file:
            rows = csv.DictReader(file)
            missing = [column for column in COLUMNS if column not in (rows.fieldnames or ())]
            if missing:
                raise BadTrace(f"{path}: column {missing[0]} is missing; needed: {', '.join(COLUMNS)}")
            asks = [_ask(row, f"{path}, line {rows.line_num}") for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise BadTrace(f"{path}: {error}") from error
    if not asks:
        raise BadTrace(f"{path}: no submissions below the header")
    return sorted(asks, key=lambda ask: ask.submitted_s)


def _ask(row: dict[str, str | None], where: str) -> Ask:
    runtime_s = _number(row, "runtime_s", where)
    priority = row.get("priority") or str(Priority.normal)
    if priority not in list(Priority):
        raise BadTrace(f"{where}: priority {priority!r} is none of {', '.join(Priority)}")
    gpus, nodes = _count(row, "gpus", where), _count(row, "nodes", where) if row.get("nodes") else 1
    if gpus % nodes:
        raise BadTrace(f"{where}: {gpus} gpus do not make equal parts on {nodes} nodes")
    expected_s = _number(row, "expected_s", where) if row.get("expected_s") else MARGIN * runtime_s
    user = row.get("user") or ""
    project = row.get("project") or "default"
    redo_s = _number(row, "redo_s", where) if row.get("redo_s") else 0.0
    tier, willing = Priority(priority), _truth(row, "preemptible", where)
    return Ask(_moment(row, where), user, gpus, runtime_s, project, tier, expected_s, nodes, willing, redo_s)


def _truth(row: dict[str, str | None], column: str, where: str) -> bool:
    text = row.get(column) or ""
    if text.lower() not in TRUTHS:
        raise BadTrace(f"{where}: {column} {text!r} is neither yes nor no")
    return TRUTHS[text.lower()]


def _count(row: dict[str, str | None], column: str, where: str) -> int:
    value = _number(row, column, where)
    if value < 1 or value != int(value):
        raise BadTrace(f"{where}: {column} {row[column]!r} is no whole number of 1 or more")
    return int(value)


def _number(row: dict[str, str | None], column: str, where: str) -> float:
    try:
        value = float(row[column] or "")
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise BadTrace(f"{where}: {column} {row[column]!r} is no number of 0 or more")
    return value


def _moment(row: dict[str, str | None], where: str) -> float:
    text = row["submitted"] or ""
    try:
        return float(text)
    except ValueError:
        pass
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise BadTrace(f"{where}: submitted {text!r} is neither seconds nor a time like 2026-11-26T12:00") from error


def read_cluster(text: str) -> list[Machine]:
    """Machines from their number and GPUs: `4x8,2x4` is four of 8 and two of 4. Raises BadTrace."""
    machines: list[Machine] = []
    for part in text.split(","):
        found = re.fullmatch(r"\s*(\d{1,5})x(\d{1,3})\s*", part)
        if found is None or not int(found[1]) or not int(found[2]):
            raise BadTrace(f"--nodes: {part.strip()!r} is not MACHINESxGPUS, as in 4x8,2x4")
        machines += [Machine(f"n{len(machines) + i + 1}", int(found[2])) for i in range(int(found[1]))]
    return machines


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


def replay(
    asks: Sequence[Ask], machines: Sequence[Machine], pass_s: float = PASS_S, *, preemption: bool = True
) -> Replay:
    """Every submission placed by the policy, which looks at the queue whenever something happened."""
    patience = PATIENCE if preemption else PATIENCE._replace(preempt_after_s=math.inf)
    nodes = {uuid.uuid4(): machine for machine in machines}
    free = {node: [uuid.uuid4() for _ in range(machine.gpus)] for node, machine in nodes.items()}
    ids = {uuid.UUID(int=i): ask for i, ask in enumerate(asks)}
    waiting: dict[uuid.UUID, Ask] = {}
    held: dict[uuid.UUID, _Held] = {}
    runs: dict[uuid.UUID, Run] = {}
    passes: list[float] = []
    left: dict[uuid.UUID, float] = {}  # of jobs that had to leave: what they still have to run
    ledger, coming = Ledger(), iter(ids.items())
    upcoming = next(coming, None)

    def give_back(job: uuid.UUID) -> _Held:
        over = held.pop(job)
        for spot in over.spots:
            free[spot.node] += spot.devices
        ledger.hold(over.ask, -over.ask.gpus)
        return over

    again, now = False, 0.0
    while upcoming or held or again:
        events = [one.end_s for one in held.values()] + ([upcoming[1].submitted_s] if upcoming else [])
        events += _ends_of_patience(waiting.values(), held.values(), now, patience) if preemption else []
        # Devices of those that had to leave are given out in the next pass.
        now = now + pass_s if again else math.ceil(min(events) / pass_s) * pass_s
        again = False
        ledger.advance(now)
        while upcoming and upcoming[1].submitted_s <= now:
            waiting[upcoming[0]] = upcoming[1]
            upcoming = next(coming, None)
        for job in [job for job, one in held.items() if one.end_s <= now]:
            give_back(job)
        if not waiting:
            continue
        began = time.perf_counter()
        made = plan(
            [_pending(job, ask) for job, ask in waiting.items()],
            [Free(node, machine.name, GPU, tuple(free[node]), machine.gpus) for node, machine in nodes.items()],
            [spot for job, one in held.items() for spot in _running(job, one, now)],
            ledger.used,
            now=datetime.fromtimestamp(now, UTC),
            patience=patience,
        )
        passes.append(time.perf_counter() - began)
        for placement in made.placements:
            ask = waiting.pop(placement.job)
            for spot in placement.spots:
                taken = set(spot.devices)
                free[spot.node] = [device for device in free[spot.node] if device not in taken]
            end_s = now + left.pop(placement.job, ask.runtime_s)
            held[placement.job] = _Held(now, end_s, ask, placement.spots)
            ledger.hold(ask, ask.gpus)
            was = runs.get(placement.job, Run(ask, now, None, None))
            names = ",".join(nodes[spot.node].name for spot in placement.spots)
            runs[placement.job] = was._replace(end_s=end_s, node=names)
        for job in made.victims:
            over, was = give_back(job), runs[job]
            left_s = over.end_s - now
            lost_s = min(over.ask.redo_s, over.ask.runtime_s - left_s)
            left[job], waiting[job] = left_s + lost_s, over.ask
            runs[job] = was._replace(preempted=was.preempted + 1, redone_s=was.redone_s + lost_s)
        again = bool(made.victims)
    never = [Run(ask, None, None, None) for ask in waiting.values()]
    return Replay([*runs.values(), *never], passes, preemption)


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
