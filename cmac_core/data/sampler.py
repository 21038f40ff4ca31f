"""The order of the data, as a pure function of (seed, train_epoch): the same for any number of ranks and workers."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmac_core.data.draws import Purpose, generator

Indices = npt.NDArray[np.int64]


class Position(NamedTuple):
    """The next step of a training: global batch `batch` of pass `train_epoch`, both from 0."""

    train_epoch: int = 0
    batch: int = 0


class Sampler(NamedTuple):
    """Divides `videos` videos into global batches of `per_step`; what is left of a pass is dropped."""

    videos: int
    per_step: int
    seed: int

    @property
    def steps(self) -> int:
        """Steps in a pass over the data."""
        return self.videos // self.per_step

    def batch(self, position: Position, rank: int = 0, ranks: int = 1) -> Indices:
        """The videos of one rank in one step: its part of the global batch, neighbours in the pass's order."""
        mine = self.per_step // ranks
        first = position.batch * self.per_step + rank * mine
        return order(self.seed, position.train_epoch, self.videos)[first : first + mine]

    def after(self, position: Position) -> Position:
        """The step that follows."""
        last = position.batch + 1 >= self.steps
        return Position(position.train_epoch + 1, 0) if last else position._replace(batch=position.batch + 1)

    def at(self, step: int) -> Position:
        """Where a training stands that has done `step` steps."""
        return Position(*divmod(step, self.steps))


@lru_cache(maxsize=2)
def order(seed: int, train_epoch: int, n: int) -> Indices:
    """A permutation of n videos, the same on every machine."""
    permutation = generator(seed, train_epoch, 0, Purpose.order).permutation(n)
    permutation.flags.writeable = False  # kept and shared
    return permutation


def start_draw(seed: int, train_epoch: int, index: int, take: int = 0) -> float:
    """U(0, 1) for where a clip's window starts; `take` tells two clips of one video apart."""
    return float(generator(seed, train_epoch, index, Purpose.window, take).random())


def stand_ins(seed: int, place: int, n: int, length: int) -> list[int]:
    """The fixed chain of videos that take the place of a broken one: up to `length` others of n, never itself."""
    draw = generator(seed, 0, place, Purpose.stand_in)
    others = draw.choice(n - 1, size=min(length, n - 1), replace=False)
    return [int(other) + int(other >= place) for other in others]
