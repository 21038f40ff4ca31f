"""What a plan is made of and from: plain values, and the policy's constants."""

from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import NamedTuple
from uuid import UUID

from store.states import DeviceKind, Priority

HOUR = 3600.0
DAY = 24 * HOUR
HALVED_S = DAY  # each time a job has waited this long, what its owner has used counts half: nobody starves
PROMOTED_S = 7 * DAY  # a job of the lowest tier that has waited this long is ordered as a normal one
CHARGED_S = HOUR  # of a job placed in this pass, at most: its owner's next one falls back at once
WEIGHTS = {DeviceKind.gpu: 1.0, DeviceKind.cpu: 0.02}  # of a device-second in shares
URGENT, NORMAL, LOW = Priority.urgent.rank, Priority.normal.rank, Priority.low.rank
LEAVING_S = 120.0  # in which one that is asked to should have saved
MOST_TRIED = 10  # jobs of a node whose combinations are tried for the fewest victims
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

Usage = Mapping[tuple[str, str], float]  # (project, owner) -> device-seconds, decayed


class Patience(NamedTuple):
    """Seconds that jobs of different tiers grant each other; a lab's own settings replace the first two."""

    preempt_after_s: float = 60.0  # of waiting, by the first in line
    least_run_s: float = 600.0  # that a job gets before it has to leave for another
    leaving_s: float = LEAVING_S


PATIENCE = Patience()


class Limit(NamedTuple):
    """What a user or project may have of GPUs and of jobs on them (None: no limit), and its weight in shares."""

    gpus: int | None = None
    running: int | None = None
    share: float = 1.0


Limits = Mapping[str, Limit]  # by user:NAME or project:NAME
FREE_OF_LIMITS = Limit()


class Wants(NamedTuple):
    """Which nodes a job may go to."""

    model: str | None = None  # what the name of their GPUs' model holds
    labels: tuple[tuple[str, str], ...] = ()  # that they have, sorted

    def __str__(self) -> str:
        model = f" of model {self.model}" if self.model else ""
        return model + (f" labelled {', '.join('='.join(label) for label in self.labels)}" if self.labels else "")

    def fit(self, model: str, labels: Mapping[str, str]) -> bool:
        """Whether a node with GPUs of this model and with these labels will do."""
        fits = self.model is None or self.model.lower() in model.lower()
        return fits and all(labels.get(key) == value for key, value in self.labels)


ANYWHERE = Wants()


class Pending(NamedTuple):
    """A queued job, as the plan sees it."""

    id: UUID
    kind: DeviceKind
    devices: int
    until_s: float = 0.0  # since 1970: it backs off until then
    until_text: str = ""  # why it does
    tier: int = NORMAL
    project: str = ""
    owner: str = ""
    submitted_s: float = 0.0  # since 1970
    runtime_s: float = DAY  # for how long it may hold its devices
    guessed: bool = False  # nobody knows for how long: runtime_s is the longest that is planned with
    nodes: int = 1  # that share its devices in equal parts
    wants: Wants = ANYWHERE

    @property
    def each(self) -> int:
        """Devices on one node."""
        return self.devices // self.nodes


class Free(NamedTuple):
    """A node and what it offers of one kind."""

    node: UUID
    name: str
    kind: DeviceKind
    free: tuple[UUID, ...]  # devices in order of their index
    total: int  # devices that could be free one day
    foreign: int = 0  # free but held by processes of others
    model: str = ""  # of its GPUs; several are told together, and are none of them
    storage: str = ""  # which storage its jobs are on
    labels: Mapping[str, str] = MappingProxyType({})

    @property
    def alike(self) -> tuple[str, str]:
        """What nodes that share a job have in common."""
        return self.model, self.storage


class Running(NamedTuple):
    """A job on a node, and when its devices are expected back. One on several nodes stands there once for each."""

    job: UUID
    node: UUID
    kind: DeviceKind
    devices: int
    left_s: float
    guessed: bool = False
    project: str = ""
    owner: str = ""
    tier: int = NORMAL
    preemptible: bool = False  # says its spec; one of the lowest tier always is
    spared: bool = False  # it had to leave for others often enough of late
    stopping: bool = False  # it is about to leave
    ran_s: float = 0.0
    unsaved_s: float = 0.0  # work since its last checkpoint


class Spot(NamedTuple):
    """A node and the devices there that a job gets."""

    node: UUID
    devices: tuple[UUID, ...]


class Placement(NamedTuple):
    job: UUID
    spots: tuple[Spot, ...]


class Waiting(NamedTuple):
    code: str
    text: str
    start: datetime | None = None  # when it is expected to start


class Plan(NamedTuple):
    placements: list[Placement]
    waiting: dict[UUID, Waiting]
    victims: dict[UUID, UUID]  # running jobs that have to save and leave, and for which job
