"""Random numbers that depend on (seed, pass over the data, clip) alone: not on batch, loader worker or rank."""

from enum import IntEnum

import numpy as np

WORD = 2**64


class Purpose(IntEnum):
    """What the numbers are for; each purpose has a stream of its own. Never renumber."""

    order = 0
    window = 1
    view = 2
    masks = 3
    gain = 4
    key_order = 5
    stand_in = 6


def generator(seed: int, train_epoch: int, index: int, purpose: Purpose, take: int = 0) -> np.random.Generator:
    """A generator for one purpose of one clip in one pass. `take` tells two clips of one video apart."""
    return np.random.Generator(
        np.random.Philox(key=[seed % WORD, train_epoch % WORD], counter=[0, index % WORD, int(purpose), take])
    )
