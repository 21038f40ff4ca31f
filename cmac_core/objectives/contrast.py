"""Eq. 7: find the clip's other half among the keys of earlier clips, of both modalities."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cmac_core.models.branch import Modality, Side
from cmac_core.objectives.diagnostics import describe_contrast, embedding_spread
from cmac_core.objectives.queue import KeyQueue
from cmac_core.specs.method import Contrastive, Moco

LETTER: dict[Modality, str] = {"video": "v", "audio": "a"}


class StepKeys(NamedTuple):
    """Keys of a step on all ranks in global order."""

    keys: dict[Modality, Tensor]  # (ranks * B, D)
    videos: Tensor  # (ranks * B,)


class Contrast(nn.Module):
    """MoCo across modalities, or inside one where there is only one (A13). It owns the queues.

    For a query of one modality the positive is the clip's key of the other, negatives are that modality's
    queue and, with `wi_neg`, the queue of its own; the step's own keys may join them (A12). With `wi_pos` a
    second term has the key of the video's other clip, of the query's own modality, as positive, and the same
    negatives (A15).
    """

    def __init__(
        self,
        modalities: tuple[Modality, ...],
        dim: int,
        contrastive: Contrastive,
        moco: Moco,
        seed: int,
        others: int = 0,
    ) -> None:
        """`others` are the clips of other videos in a step over all ranks, where they are negatives."""
        super().__init__()
        self.modalities, self.tau, self.mask = modalities, contrastive.tau, moco.mask_same_video
        self.within = contrastive.wi_neg and len(modalities) > 1
        self.partners = contrastive.wi_pos
        draw = torch.Generator().manual_seed(seed % 2**63)
        self.queues = nn.ModuleDict({name: KeyQueue(moco.K, dim, draw) for name in modalities})
        self.size, self.others = moco.K, others

    def forward(
        self, sides: dict[Modality, Side], keys: dict[Modality, Tensor], videos: Tensor, step: StepKeys | None = None
    ) -> dict[str, Tensor]:
        """Query sides, keys (B, D) of the same clips, videos (B,): losses `contrast/*`, `partner/*`, diagnostics.

        With the keys of the whole `step`, those of other videos are negatives too.
        """
        parts: dict[str, Tensor] = {}
        for name, side in sides.items():
            letter, queries = LETTER[name], side.embedding
            assert queries is not None
            similarities, masked = self._negatives(name, queries, videos, step)
            loss, logits = cross_entropy(queries, keys[self._other(name)], similarities, self.tau)
            parts[f"contrast/{letter}"] = loss
            if self.partners:
                partner = torch.arange(len(queries), device=queries.device) ^ 1
                parts[f"partner/{letter}"] = cross_entropy(queries, keys[name][partner], similarities, self.tau)[0]
            described = describe_contrast(logits) | {"embedding_std": embedding_spread(queries), "masked": masked}
            parts |= {f"contrast/{what}_{letter}": value for what, value in described.items()}
        return parts | self._describe_queues(videos)

    def enqueue(self, keys: dict[Modality, Tensor], videos: Tensor) -> None:
        """Keys (ranks * B, D) and videos (ranks * B,) of all ranks in global order, after the step."""
        for name, rows in keys.items():
            self._queue(name).enqueue(rows, videos)

    @property
    def chance(self) -> float:
        """The sum over directions of the loss when all similarities are equal: ln(1 + K), with `wi_neg` ln(1 + 2K)."""
        return len(self.modalities) * math.log1p((self.size + self.others) * (2 if self.within else 1))

    def _negatives(
        self, name: Modality, queries: Tensor, videos: Tensor, step: StepKeys | None
    ) -> tuple[Tensor, Tensor]:
        """Similarities with all negatives (B, K or 2K, more with a `step`), cross-modal first; the same video's -inf.

        In the step's own keys the same video is always masked: its key is the positive, or almost the query.
        """
        sources = [self._other(name)] + ([name] if self.within else [])
        queues = [self._queue(source) for source in sources]
        similarities = [queue.similarities(queries) for queue in queues]
        same = [queue.holds(videos) & self.mask for queue in queues]
        if step is not None:
            similarities += [queries @ step.keys[source].T for source in sources]
            same += [step.videos[None] == videos[:, None]] * len(sources)
        masked = torch.cat(same, 1)
        return torch.cat(similarities, 1).masked_fill(masked, -math.inf), masked.float().mean()

    def _other(self, name: Modality) -> Modality:
        return self.modalities[-1] if name == self.modalities[0] else self.modalities[0]

    def _queue(self, name: Modality) -> KeyQueue:
        queue = self.queues[name]
        assert isinstance(queue, KeyQueue)
        return queue

    def _describe_queues(self, videos: Tensor) -> dict[str, Tensor]:
        filled = self._queue(self.modalities[0]).filled
        share = torch.full((), filled / self.size, device=videos.device)
        return {"queue/fill": share, "queue/age": torch.full_like(share, filled / len(videos))}


def cross_entropy(queries: Tensor, positives: Tensor, similarities: Tensor, tau: float) -> tuple[Tensor, Tensor]:
    """Mean cross entropy of the positive (B, D) against the negatives' similarities, and the logits, positive first."""
    positive = (queries * positives).sum(1, keepdim=True)
    logits = torch.cat([positive, similarities], 1) / tau
    return F.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long)), logits
