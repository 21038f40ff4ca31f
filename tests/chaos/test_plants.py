"""With a guard taken away the same steps leave a history that breaks invariants; with it they cannot."""

from collections.abc import Callable
from typing import TypeVar

import pytest
from sqlalchemy import Engine, select
from sqlalchemy.exc import IntegrityError

from chaos import history, invariants
from chaos.plants import PLANTS, Plant
from cmac_core.events import Metrics
from store import attempts, database
from store.ends import Reason
from store.errors import Fenced
from store.tables import Device
from tests.store.lab import ADMIN, Lab

NO_FENCE, NO_CONSTRAINT = PLANTS


T = TypeVar("T")


def steps(work: Callable[[Lab], T]) -> T:
    """What is done in one transaction that is committed."""
    with database.sessions.begin() as session:
        return work(Lab(session, ADMIN))


@pytest.fixture
def machine(committed: Engine) -> None:
    def make(lab: Lab) -> None:
        lab.node(slots=4)
        lab.dataset()

    steps(make)


def lose_one_and_write() -> None:
    """As a supervisor does that has slept through being given up."""
    lease = steps(lambda lab: lab.run(lab.submit("retrieval", name="chaos-0")))
    steps(lambda lab: attempts.give_up(lab.session, lease.attempt, Reason.worker_lost, release=True))
    steps(lambda lab: lab.tell(lease, Metrics(step=1, values={"loss": 0.5})))


def place_two_on_one() -> None:
    """As a scheduler does that does not see what is taken."""

    def place(lab: Lab) -> None:
        job = lab.submit("retrieval", name="chaos-0", resources={"cpu_slots": 1})
        node, device = lab.node(slots=4), lab.session.scalars(select(Device).limit(1)).one()
        attempts.place(lab.session, job.id, [(node.id, [device])])

    steps(place)
    steps(place)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("plant", "mischief", "refusal", "broken"),
    [
        (NO_FENCE, lose_one_and_write, Fenced, "nothing_old_is_stored"),
        (NO_CONSTRAINT, place_two_on_one, IntegrityError, "devices_are_leased_once"),
    ],
    ids=lambda value: value.name if isinstance(value, Plant) else "",
)
def test_what_the_guard_refuses_is_seen_when_it_is_gone(
    plant: Plant, mischief: Callable[[], None], refusal: type[Exception], broken: str
) -> None:
    with pytest.raises(refusal):
        mischief()
    assert invariants.broken(invariants.ALWAYS, history.read("chaos-")) == []
    with plant.planted():
        mischief()
        found = invariants.broken(invariants.ALWAYS, history.read("chaos-"))
    assert any(text.startswith(f"{broken}: ") for text in found), found
