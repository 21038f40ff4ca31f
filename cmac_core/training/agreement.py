"""Ranks do the same at the same step: flags of one are made known to all, without anyone waiting for it."""

from typing import Any

import torch
from torch import distributed

from cmac_core.distributed import world_size


def gathered(mine: Any) -> list[Any]:
    """What each rank has, in rank order: plain containers and tensors on the CPU."""
    if world_size() == 1:
        return [mine]
    everyone: list[Any] = [None] * world_size()
    distributed.all_gather_object(everyone, mine)
    return everyone


class Agreement:
    """Flags that any rank may raise; all ranks see them at the same step boundary, one step late."""

    def __init__(self, flags: int) -> None:
        self._flags = flags
        self._sent: tuple[Any, torch.Tensor] | None = None

    def exchange(self, *raised: bool) -> list[bool]:
        """Raise flags, and get those that any rank raised at the boundary before this one."""
        assert len(raised) == self._flags
        if world_size() == 1:
            return list(raised)
        seen = self._take()
        values = torch.tensor(raised, dtype=torch.int32)
        self._sent = (distributed.all_reduce(values, distributed.ReduceOp.MAX, async_op=True), values)
        return seen

    def close(self) -> None:
        """Take what is still under way; after this nothing of it is left in the process group."""
        self._take()

    def _take(self) -> list[bool]:
        if self._sent is None:
            return [False] * self._flags
        work, values = self._sent
        work.wait()
        self._sent = None
        return [bool(value) for value in values.tolist()]
