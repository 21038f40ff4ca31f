"""Fine-tuning's objective: cross entropy of a classifier on the video encoder (METHOD 7.1)."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.models.batch_norm import regroup
from cmac_core.models.classifier import VideoClassifier
from cmac_core.objectives.base import Objective
from cmac_core.objectives.batch import Batch
from cmac_core.specs.jobs import Finetune

UNKNOWN = -1  # the target of a clip that is no training clip; cross entropy refuses it


class Classification(Objective):
    """An encoder and a new layer, trained to name the class of training clips."""

    FORMAT: ClassVar[str] = "cmac-lab/finetune/1"
    ENCODERS: ClassVar[str] = "network.encoders."
    spec: Finetune

    def __init__(
        self, spec: Finetune, encoder: nn.Module, channels: int, targets: Sequence[int], classes: Sequence[str]
    ) -> None:
        """`targets`: a class number for each clip of the dataset, UNKNOWN for all but training clips.

        The new layer is drawn from `spec.seed` alone.
        """
        super().__init__()
        self.spec, self.classes = spec, list(classes)
        regroup(encoder, spec.bn_group)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(spec.seed % 2**63)
            self.network = VideoClassifier(encoder, channels, len(self.classes), spec.dropout)
        self.targets: Tensor
        self.register_buffer("targets", torch.tensor(targets), persistent=False)
        self._run: tuple[Callable[..., Tensor]] = (self.network,)  # in a tuple: a module would be registered twice

    def wrap_network(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Train through `wrap(network)`, DistributedDataParallel, from now on; names in the state dict stay."""
        self._run = (wrap(self.network),)

    def losses(self, batch: Batch, train_epoch: float) -> dict[str, Tensor]:
        """`total`, the mean cross entropy, and `accuracy`, the share of clips whose class scores highest."""
        assert self.training
        target = self.targets[batch.video_id]
        logits = self._run[0](batch.frames)
        right = (logits.detach().argmax(1) == target).float().mean()
        return {"total": F.cross_entropy(logits, target), "accuracy": right}

    def groups(self) -> list[dict[str, Any]]:
        """The encoder, with its own learning rate, and the new layer, for the optimizer."""
        return [
            {"params": list(self.network.encoders.parameters()), "lr_mult": self.spec.optim.backbone_lr_mult},
            {"params": list(self.network.head.parameters()), "lr_mult": 1.0},
        ]

    def get_extra_state(self) -> dict[str, list[str]]:
        """Which class each row of the new layer stands for."""
        return {"classes": self.classes}

    def set_extra_state(self, state: Any) -> None:
        assert state["classes"] == self.classes, "the same manifest has the same classes"
