"""What happens in one run, all of it drawn from one seed: jobs, what people ask of them, and faults."""

from dataclasses import dataclass, replace
from random import Random
from typing import Literal

from chaos.program import Ail, Course

Edge = Literal["none", "afterok", "afterany"]
Wish = Literal["none", "cancel", "pause"]
AILS: tuple[Ail, ...] = ("nothing", "bug", "user_error", "disk_full")
EDGES: tuple[Edge, ...] = ("none", "afterok", "afterany")
WISHES: tuple[Wish, ...] = ("none", "cancel", "pause")
REAL_EVERY = 10  # runs, one of which has a job of the real core

# Name -> least and most seconds that it lasts.
SHORT: dict[str, tuple[float, float]] = {
    "api killed": (0.2, 2.0),
    "api stopped": (0.5, 3.0),
    "control killed": (0.0, 0.0),
    "control stopped": (0.5, 4.0),
    "control thrice": (1.0, 3.0),
    "node loop killed": (0.0, 0.0),
    "node loop stopped": (0.5, 2.5),
    "consumer killed": (0.0, 0.0),
    "consumer stopped": (0.5, 4.0),
    "pool killed": (0.0, 0.0),
    "pool stopped": (0.5, 4.0),
    "supervisor killed": (0.0, 0.0),
    "supervisor stopped": (0.5, 4.0),
    "run killed": (0.0, 0.0),
    "run stopped": (0.5, 3.0),
    "family killed": (0.0, 0.0),
    "worker killed": (0.5, 2.0),
    "machine killed": (0.5, 3.0),
    "postgres restarted": (0.0, 3.0),
    "postgres crashed": (0.0, 2.0),
    "redis restarted": (0.0, 4.0),
    "redis wiped": (0.0, 3.0),
    "messages repeated": (0.0, 0.0),
    "messages lost": (0.5, 2.0),
}
# These last longer than the time after which a supervisor is given up for lost, as a multiple of it.
LONG: dict[str, tuple[float, float]] = {
    "supervisor hung": (1.1, 1.2),
    "machine cut off": (1.1, 1.2),
    "machine frozen": (1.1, 1.2),
}


@dataclass(frozen=True)
class Fault:
    """One thing that breaks. `pick` chooses among those that are there when it comes to it."""

    name: str
    at: float
    seconds: float
    pick: int

    def __str__(self) -> str:
        lasting = f" {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.name}{lasting} at {self.at:.1f} s"


@dataclass(frozen=True)
class Request:
    """One job: its course (None: a training by the real core), and what is asked of it on the way."""

    at: float
    course: Course | None
    edge: Edge = "none"  # to the request before it
    wish: Wish = "none"
    wish_after: float = 0.0  # s from its submission
    resume_after: float = 0.0  # s from the pause


@dataclass(frozen=True)
class Schedule:
    """One run. Times count from its start, seconds."""

    seed: int
    requests: tuple[Request, ...]
    faults: tuple[Fault, ...]

    @property
    def prefix(self) -> str:
        """The names of its jobs begin so."""
        return f"chaos-{self.seed}-"


def draw(seed: int, lost_s: float) -> Schedule:
    """The schedule of a seed: the same at every call. `lost_s`: when a silent supervisor is given up for lost."""
    random = Random(seed)
    requests = [_request(random, first=place == 0) for place in range(random.randint(3, 6))]
    if seed % REAL_EVERY == 0:
        requests.insert(0, Request(at=0.0, course=None))
    faults = [_fault(random, SHORT) for _ in range(random.randint(2, 4))]
    if random.random() < 0.4:
        long = _fault(random, LONG)
        faults.append(replace(long, seconds=long.seconds * lost_s))
    return Schedule(seed, tuple(requests), tuple(sorted(faults, key=lambda fault: fault.at)))


def _request(random: Random, *, first: bool) -> Request:
    ail = random.choices(AILS, (12, 1, 2, 2))[0]
    course = Course(random.randrange(2**31), random.randint(16, 36), round(random.uniform(0.1, 0.2), 3), ail)
    edge = random.choices(EDGES, (6, 1, 1))[0]
    wish = random.choices(WISHES, (6, 1, 1))[0]
    at, after, pause = random.uniform(0, 2.5), random.uniform(0.0, 4.0), random.uniform(0.0, 2.0)
    return Request(at, course, "none" if first else edge, wish, after, pause)


def _fault(random: Random, kinds: dict[str, tuple[float, float]]) -> Fault:
    name = random.choice(list(kinds))
    return Fault(name, random.uniform(1.0, 8.0), random.uniform(*kinds[name]), random.randrange(1000))
