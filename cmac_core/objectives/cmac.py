"""The objective of CMAC (METHOD 5, Eq. 8): tell clips apart across modalities, and look where the other one points.

    L = CE_v + CE_a + lambda (L_ac_v + L_ac_a)

The variants of the paper's tables are this with parts left out: lambda 0, no contrast, one modality.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from cmac_core.distributed import all_equal, gather_rows, rank, world_size
from cmac_core.models.branch import Branch, Modality, Outputs, Side
from cmac_core.objectives.attention import Guide, attention_consistency
from cmac_core.objectives.base import Objective
from cmac_core.objectives.batch import Batch, clips_per_video, modalities, videos_per_step
from cmac_core.objectives.contrast import Contrast, StepKeys
from cmac_core.objectives.diagnostics import describe_agreement, describe_attention
from cmac_core.objectives.momentum import follow, gather_keys, key_model, key_sides, put_back, shuffled_order
from cmac_core.objectives.ramp import Lambda
from cmac_core.specs.jobs import Pretrain

__all__ = ["Batch", "Cmac", "Maps", "build_objective", "clips_per_video", "modalities", "videos_per_step"]

TERMS = ("contrast", "partner", "attention")


class Maps(NamedTuple):
    """Attention on the cells of the encoders' maps, fp32. Guidance s and prediction ŝ (None without saliency heads)."""

    s_v: Tensor  # (B, T', H', W')
    s_hat_v: Tensor | None
    s_a: Tensor  # (B, F', T')
    s_hat_a: Tensor | None


def build_objective(spec: Pretrain) -> "Cmac":
    """What this spec trains, on the CPU, initialised from `spec.seed` alone.

    Raises ValueError, naming the field, for a spec whose parts do not go together.
    """
    if spec.contrastive.use and spec.optim.batch > spec.moco.K:
        raise ValueError(f"moco.K: {spec.moco.K} keys do not hold one batch of {spec.optim.batch}; make it larger")
    if spec.loss.ramp is not None and spec.loss.ramp.by == "contrast" and not spec.contrastive.use:
        raise ValueError("loss.ramp.by: contrast needs contrastive.use; ramp by train_epoch instead")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed % 2**63)
        return Cmac(spec)


class Cmac(Objective):
    """The trained query model, the key model that follows it, and the queues.

    A step is: `update_momentum()`, `losses(batch, train_epoch)["total"].backward()`, optimiser, `enqueue()`.
    Only `query` has gradients, and every trainable parameter of it has one in every step.
    """

    FORMAT: ClassVar[str] = "cmac-lab/pretrain/1"
    ENCODERS: ClassVar[str] = "query.encoders."
    spec: Pretrain

    def __init__(self, spec: Pretrain) -> None:
        super().__init__()
        self.spec = spec
        self.step = 0  # seeds the shuffle of the keys
        names = modalities(spec)
        cross = len(names) == 2
        self.attends = cross and spec.loss.lambda_ac > 0
        self.query = Branch(spec.model, names, heads=spec.contrastive.use, saliency=self.attends)
        self.key: Branch | None = None
        self.contrast: Contrast | None = None
        if spec.contrastive.use:
            alone = {"bn": "sync"} if spec.moco.key_bn == "sync" else {}
            key = Branch(spec.model.model_copy(update=alone), names, heads=True, saliency=False)
            self.key = key_model(self.query, key)
            others = spec.optim.batch - (2 if spec.contrastive.wi_pos else 1) if spec.moco.inbatch_negatives else 0
            self.contrast = Contrast(names, spec.model.head.dim, spec.contrastive, spec.moco, spec.seed, others)
        elif spec.pcf.target_grad == "stop":
            self.query.filters.requires_grad_(False)  # nothing would reach g (METHOD 5)
        projected = spec.pcf.space == "projected"
        dim = spec.model.head.dim if projected else spec.model.channels
        self.guide = Guide(spec.pcf, dim) if cross else None
        chance = self.contrast.chance if self.contrast else 0.0
        self.weight = Lambda(spec.loss.lambda_ac, spec.loss.ramp, chance, spec.loss.ac_share)
        self._run: tuple[Callable[..., Outputs]] = (self.query,)  # in a tuple: a module would be registered twice
        self._waiting: StepKeys | None = None

    def wrap_query(self, wrap: Callable[[nn.Module], nn.Module]) -> None:
        """Train through `wrap(query)`, DistributedDataParallel, from now on; names in the state dict stay."""
        self._run = (wrap(self.query),)

    @torch.no_grad()
    def update_momentum(self) -> None:
        """Move the key model towards the query: p_k = m p_k + (1 - m) p_q. First in a step."""
        if self.key is not None:
            follow(self.key, self.query, self.spec.moco.m)

    def losses(self, batch: Batch, train_epoch: float) -> dict[str, Tensor]:
        """`total` (mean over this rank's clips, with gradient), its parts and diagnostics (detached scalars).

        `train_epoch` is passes done, with fractions, for the ramp of lambda. Values are this rank's; with equal
        shares their mean over ranks is the global one.
        """
        assert self.training
        asked, answered = (batch, batch) if self.guide is not None else (batch.every_other(0), batch.every_other(1))
        keys, shown = self._encode_keys(answered)
        outputs = self._run[0](asked.frames, asked.spectrogram)
        with full_precision(batch.video_id.device):
            parts: dict[str, Tensor] = {}
            if self.contrast is not None:
                step = self._waiting if self.spec.moco.inbatch_negatives else None
                parts |= self.contrast(outputs.sides(), keys, asked.video_id, step)
            if outputs.video is not None and outputs.audio is not None:
                taught = shown if self.spec.pcf.source == "key" else outputs.sides()
                parts |= self._attend(outputs.video, outputs.audio, taught)
            total = self._add_up(parts, train_epoch)
        return {"total": total} | {name: value.detach() for name, value in parts.items()}

    def _add_up(self, parts: dict[str, Tensor], train_epoch: float) -> Tensor:
        """Eq. 8, and the within-modal positives of Table 3. Notes lambda among the parts."""
        found = {term: [parts[f"{term}/{letter}"] for letter in "va" if f"{term}/{letter}" in parts] for term in TERMS}
        total = torch.stack(found["contrast"]).sum() if found["contrast"] else next(iter(parts.values())).new_zeros(())
        if found["attention"]:
            factors = self.spec.loss.ac_weight
            video, audio = found["attention"]
            attention = factors.video * video + factors.audio * audio
            parts["lambda"] = self.weight(train_epoch, total.detach(), attention.detach())
            total = total + parts["lambda"] * attention
        if found["partner"]:
            total = total + self.spec.contrastive.wi_pos_weight * torch.stack(found["partner"]).sum()
        return total

    def _attend(self, video: Side, audio: Side, taught: dict[Modality, Side]) -> dict[str, Tensor]:
        """Losses `attention/v` and `attention/a` where h is trained, and what the maps look like.

        s is made of the sides `taught`: the query's own, or the key model's of the same clips.
        """
        assert self.guide is not None
        parts = {f"cosine/{name}": value for name, value in describe_agreement(video, audio).items()}
        if not self.attends and not self.guide.centers:
            return parts
        # Also where nothing learns from it: running centers move.
        guided = self.guide(taught["video"], taught["audio"], self._teacher)
        half = (guided.video[0].numel() + guided.audio[0].numel()) / 2
        reduction = self.spec.loss.ac_reduction
        for letter, target, prediction in (("v", guided.video, video.saliency), ("a", guided.audio, audio.saliency)):
            if prediction is not None:
                parts[f"attention/{letter}"] = attention_consistency(target, prediction, reduction, half)
                cells = {"sum": target[0].numel(), "mean": 1, "per_modality": half}[reduction]
                described = describe_attention(target, prediction, cells)
                parts |= {f"attention/{name}_{letter}": value for name, value in described.items()}
        return parts

    @property
    def _teacher(self) -> Branch:
        """The model whose maps make s (A8)."""
        if self.spec.pcf.source == "query":
            return self.query
        assert self.key is not None
        return self.key

    @torch.no_grad()
    def _encode_keys(self, batch: Batch) -> tuple[dict[Modality, Tensor], dict[Modality, Side]]:
        """Keys of this rank's clips, (B, D), and the sides that s is made of. All ranks' keys wait for `enqueue`."""
        if self.key is None:
            return {}, {}
        size = len(batch.video_id)
        assert size % 2 == 0 or not self.spec.contrastive.wi_pos, "a video lies across two ranks"
        order = None
        if self.spec.moco.key_bn == "shuffle":
            order = shuffled_order(size * world_size(), self.spec.seed, self.step)
        clips: dict[Modality, Tensor] = {}
        if batch.frames is not None:
            clips["video"] = batch.frames
        if batch.spectrogram is not None:
            clips["audio"] = batch.spectrogram
        sides = key_sides(self.key, clips, order)
        keys = gather_keys(sides, order)
        self._waiting = StepKeys(keys, gather_rows(batch.video_id))
        shown = {name: put_back(side, order) for name, side in sides.items()} if self._teacher is self.key else {}
        return {name: rows[rank() * size : (rank() + 1) * size] for name, rows in keys.items()}, shown

    @torch.no_grad()
    def enqueue(self) -> None:
        """Put the keys of the last `losses` into the queues, in global order. Last in a step."""
        self.step += 1
        if self.contrast is not None:
            assert self._waiting is not None, "enqueue comes after losses, once"
            self.contrast.enqueue(self._waiting.keys, self._waiting.videos)
            self._waiting = None

    @torch.no_grad()
    def attention_maps(self, frames: Tensor, spectrogram: Tensor) -> Maps:
        """s and ŝ of a batch, in eval mode. Row i of one is guided by row i of the other, so shift one for controls."""
        outputs = self.sides(frames, spectrogram)
        assert outputs.video is not None
        assert outputs.audio is not None
        return self.maps(outputs.video, outputs.audio)

    @torch.no_grad()
    def sides(self, frames: Tensor, spectrogram: Tensor | None) -> Outputs:
        """What the query model says of clips; map and kernel are the key model's where s is made of those."""
        outputs: Outputs = self.query(frames, spectrogram)
        if self._teacher is self.query:
            return outputs
        taught = self._teacher(frames, spectrogram).sides()
        own = {
            name: side._replace(filtered=taught[name].filtered, kernel=taught[name].kernel)
            for name, side in outputs.sides().items()
        }
        return Outputs(own.get("video"), own.get("audio"))

    @torch.no_grad()
    def maps(self, video: Side, audio: Side) -> Maps:
        """`attention_maps` of sides that are there already: one forward serves matched and mismatched pairs."""
        assert not self.training
        if self.guide is None:
            raise ValueError(f"objective: {self.spec.objective} looks at one modality and has no attention maps")
        with full_precision(video.kernel.device):
            guided = self.guide(video, audio, self._teacher)
        return Maps(guided.video, video.saliency, guided.audio, audio.saliency)

    def begin_step(self) -> None:
        """The key model follows."""
        self.update_momentum()

    def end_step(self) -> None:
        """The keys go into the queues."""
        self.enqueue()

    def trained(self) -> Iterable[nn.Parameter]:
        """Those of the query model."""
        return self.query.parameters()

    def ranks_agree(self) -> bool:
        """Whether the queues do."""
        return self.queues_agree()

    def queues_agree(self) -> bool:
        """Whether all ranks hold the same queues. Collective, and it waits for the device: ask now and then."""
        if self.contrast is None:
            return True
        return all(all_equal(buffer.double().sum()) for buffer in self.contrast.buffers())

    def get_extra_state(self) -> dict[str, int]:
        """The step, a host number, beside the tensors of the state dict."""
        return {"step": self.step}

    def set_extra_state(self, state: Any) -> None:
        self.step = int(state["step"])


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Cosines, softmax and losses in fp32, whatever the networks run in (METHOD 5)."""
    with torch.autocast(device.type, enabled=False):
        yield
