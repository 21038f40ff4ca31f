"""What the one training loop asks of whatever it trains."""

from collections.abc import Iterable
from typing import ClassVar

from torch import Tensor, nn

from cmac_core.objectives.batch import Batch
from cmac_core.specs.jobs import Finetune, Pretrain


class Objective(nn.Module):
    """Networks and the loss that they are trained for; its state dict is what a checkpoint keeps of it.

    A step is: `begin_step()`, `losses(batch, train_epoch)["total"].backward()`, optimizer, `end_step()`.
    """

    FORMAT: ClassVar[str]  # of its checkpoints
    ENCODERS: ClassVar[str]  # what the names of the trained encoders begin with, in the state dict
    spec: Pretrain | Finetune

    def begin_step(self) -> None:
        """First in a step: what follows the weights moves."""

    def losses(self, batch: Batch, train_epoch: float) -> dict[str, Tensor]:
        """`total` (mean over this rank's clips, with gradient) and whatever else is to be metered."""
        raise NotImplementedError

    def end_step(self) -> None:
        """Last in a step, after the optimizer."""

    def trained(self) -> Iterable[nn.Parameter]:
        """The parameters that may have gradients."""
        return self.parameters()

    def ranks_agree(self) -> bool:
        """Whether what has no gradient is the same on all ranks. Collective."""
        return True
