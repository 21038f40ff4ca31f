"""Events of the core become rows, in the transaction that the fence opened."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from cmac_core.events import AnyEvent
from store.attempts import Lease


def record(session: Session, lease: Lease, events: Sequence[AnyEvent]) -> None:
    """Store what these events tell: metrics, checkpoints, artifacts, result, dataset, progress, warnings.

    Call `attempts.beat` first in the same transaction: it holds the fence and moves the offset, which makes
    the ingest exactly once.
    """
    raise NotImplementedError
