"""The objective of CMAC (METHOD 5, Eq. 8): tell clips apart across modalities, and look where the other one points."""

from collections.abc import Callable
from typing import NamedTuple

from torch import Tensor, nn

from cmac_core.specs.jobs import Pretrain


class Batch(NamedTuple):
    """A rank's slice of a step, on the device. Clips of one video are neighbours: rows 2i and 2i + 1."""

    frames: Tensor | None  # (B, 3, T, H, W) normalised; None for single_a
    spectrogram: Tensor | None  # (B, 1, F, T) normalised; None for single_v
    video_id: Tensor  # (B,) int64: the clip's index in the dataset, >= 0


class Maps(NamedTuple):
    """Attention on the cells of the encoders' maps, fp32. Guidance s and prediction ŝ (None without saliency heads)."""

    s_v: Tensor  # (B, T', H', W')
    s_hat_v: Tensor | None
    s_a: Tensor  # (B, F', T')
    s_hat_a: Tensor | None


def clips_per_video(spec: Pretrain) -> int:
    """2 when a step needs two clips of each video (wi_pos, single_v, single_a), else 1."""
    return 2 if spec.objective != "cmac" or spec.contrastive.wi_pos else 1


def videos_per_step(spec: Pretrain) -> int:
    """Videos in a step over all ranks; `optim.batch` counts queries (wi_pos: both clips are; single: one is)."""
    return spec.optim.batch // 2 if spec.contrastive.wi_pos else spec.optim.batch


class Cmac(nn.Module):
    """The trained query model, the key model that follows it, and the queues.

    A step is: `update_momentum()`, `losses(batch, train_epoch)["total"].backward()`, optimiser, `enqueue()`.
    Only `query` has gradients; `wrap_query` sends its forward through DistributedDataParallel.
    """

    query: nn.Module

    def wrap_query(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Run the trained part through `wrap(query)` from now on; names in the state dict stay."""
        raise NotImplementedError

    def update_momentum(self) -> None:
        """Move the key model towards the query: p_k = m p_k + (1 - m) p_q. First in a step."""
        raise NotImplementedError

    def losses(self, batch: Batch, train_epoch: float) -> dict[str, Tensor]:
        """`total` (mean over this rank's clips, with gradient), its parts and diagnostics (detached scalars)."""
        raise NotImplementedError

    def enqueue(self) -> None:
        """Put the keys of the last `losses` into the queues, in global order. Last in a step."""
        raise NotImplementedError

    def attention_maps(self, frames: Tensor, spectrogram: Tensor) -> Maps:
        """s and ŝ of a batch, without gradient; call in eval mode. Row i of one is guided by row i of the other."""
        raise NotImplementedError


def build_objective(spec: Pretrain) -> Cmac:
    """What this spec trains, on the CPU, initialised from `spec.seed` alone."""
    raise NotImplementedError
