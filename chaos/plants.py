"""Guards taken away, to see that the checks see it. Done in the database alone: the code that runs is the real one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import text

from chaos.program import Course
from chaos.schedule import Fault, Request, Schedule
from store import database


@dataclass(frozen=True)
class Plant:
    """A guard that is missing, and a schedule in which it is missed."""

    name: str
    plant: tuple[str, ...]
    remove: tuple[str, ...]
    schedule: Callable[[int, float], Schedule]  # seed, when a silent supervisor is given up for lost

    @contextmanager
    def planted(self) -> Iterator[None]:
        """The guard is away inside."""
        _execute(self.plant)
        try:
            yield
        finally:
            _execute(self.remove)


def _execute(statements: tuple[str, ...]) -> None:
    with database.engine().begin() as connection:
        for statement in statements:
            connection.execute(text(statement))


def _cut_off(seed: int, lost_s: float) -> Schedule:
    """Long enough that its jobs go on elsewhere while the old supervisors still live.

    As many jobs as both machines hold, or the one that is cut off may have none; and once all of them have started.
    """
    requests = tuple(Request(0.0, Course(place, 90, 0.2)) for place in range(4))
    return Schedule(seed, requests, (Fault("machine cut off", 8.0, 1.4 * lost_s, 0),))


def _crowd(seed: int, _: float) -> Schedule:
    requests = tuple(Request(0.0, Course(place, 8, 0.1)) for place in range(4))
    return Schedule(seed, requests, ())


# A part that is given up for lost stays as it was, so that its supervisor's writes still find it.
_NO_FENCE = Plant(
    "no fence",
    (
        """CREATE FUNCTION keep_part() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.state := OLD.state; RETURN NEW; END $$""",
        """CREATE TRIGGER keep_part BEFORE UPDATE ON attempt_parts FOR EACH ROW WHEN (NEW.state = 'lost')
           EXECUTE FUNCTION keep_part()""",
    ),
    ("DROP TRIGGER keep_part ON attempt_parts", "DROP FUNCTION keep_part()"),
    _cut_off,
)

# Every lease is for one and the same device, as from a scheduler that does not see what is taken.
_NO_CONSTRAINT = Plant(
    "no lease constraint",
    (
        "DROP INDEX uq_gpu_leases_live",
        """CREATE FUNCTION crowd() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN NEW.gpu_id := (SELECT id FROM gpus WHERE kind = 'cpu' ORDER BY id LIMIT 1); RETURN NEW; END $$""",
        "CREATE TRIGGER crowd BEFORE INSERT ON gpu_leases FOR EACH ROW EXECUTE FUNCTION crowd()",
    ),
    (
        "DROP TRIGGER crowd ON gpu_leases",
        "DROP FUNCTION crowd()",
        "UPDATE gpu_leases SET released_at = now() WHERE released_at IS NULL",
        "CREATE UNIQUE INDEX uq_gpu_leases_live ON gpu_leases (gpu_id) WHERE released_at IS NULL",
    ),
    _crowd,
)

PLANTS = (_NO_FENCE, _NO_CONSTRAINT)
