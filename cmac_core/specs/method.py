"""The method's own choices: networks, attention, contrast, loss and optimisation (METHOD 3, 5, 6)."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cmac_core.specs.base import Spec
from cmac_core.specs.clips import Share


class Head(Spec):
    """Projection of a pooled map into the joint space; shared by both modalities by default (A2)."""

    type: Literal["linear", "mlp2", "gdt"] = Field(
        "linear", description="One layer; two with a ReLU between; or GDT's two with BN, ReLU and dropout .3 (A3)."
    )
    dim: PositiveInt = Field(256, le=65_536)
    shared: bool = True
    bias: bool = Field(True, description="Of the last layer.")


class Saliency(Spec):
    """h: conv 3 -> hidden, BN, ReLU, conv 1 -> one logit a cell (A10)."""

    hidden: PositiveInt = Field(256, le=65_536)


class Model(Spec):
    """R(2+1)D-18 and ResNet-9. `width` is the first stage's, and each further one doubles it."""

    video: Literal["r2plus1d_18"] = "r2plus1d_18"
    audio: Literal["resnet9"] = "resnet9"
    width: PositiveInt = Field(64, le=1024)
    depth: Literal[1, 2] = Field(2, description="Residual blocks in a stage of the video network; 2 is R(2+1)D-18.")
    stages: Literal[2, 3, 4] = Field(
        4, description="Stages of both networks. One less leaves maps of twice as many cells a side, each seeing less."
    )
    g_kernel: Literal[1, 3] = Field(1, description="Side of g's convolution, cells, in every dimension (A1).")
    g_relu: bool = Field(False, description="A ReLU after g's BN: every cosine is then positive, s at least .5.")
    head: Head = Head()
    saliency: Saliency = Saliency()
    bn: Literal["group", "sync"] = Field(
        "group", description="Statistics over bn_group clips, or over all clips of all ranks (A20)."
    )
    bn_group: PositiveInt = Field(
        16, description="Clips that share batch statistics, whatever the number of ranks; batch / ranks is a multiple."
    )

    @property
    def group(self) -> int | None:
        """Clips that share batch statistics; None is all clips of all ranks."""
        return None if self.bn == "sync" else self.bn_group

    @property
    def channels(self) -> int:
        """Channels of the last map of either encoder: 512 at the paper's size."""
        return self.width * 2 ** (self.stages - 1)

    @model_validator(mode="after")
    def _head_has_statistics(self) -> Self:
        if self.head.type == "gdt" and self.group == 1:
            raise ValueError(
                "bn_group: the BN of head.type gdt needs two clips or more in a group; set it to 2 or more"
            )
        return self


class CorrelationFiltering(Spec):
    """Pyramid correlation filtering, Eqs. 3 and 4 (A4 to A8, METHOD 13)."""

    norm: Literal["cosine", "relu_cos", "minmax", "softmax", "none"] = Field(
        "cosine",
        description="(1 + cos) / 2; max(cos, 0); cos stretched over each map to [0, 1]; softmax over the positions; "
        "or the inner product as it is (A4).",
    )
    scales: Literal[1, 2, 3] = 2
    fuse: Literal["mean", "max", "product"] = Field("mean", description="How the scales' maps become one (A5).")
    pool: tuple[Literal["time", "space"], ...] = Field(
        ("time", "space"),
        min_length=1,
        description="What a further scale halves; the space of sound is frequency (A5).",
    )
    kappa_per_scale: bool = Field(
        False,
        description="Each scale's kernel is the mean of the other map at that scale: with maps of even sides the same "
        "kernel, else cells at an odd border weigh more (A6).",
    )
    target_grad: Literal["stop", "flow", "kappa"] = Field(
        "stop", description="What of s learns from L_ac: nothing, kernels and positions, or kernels alone (A7)."
    )
    source: Literal["query", "key"] = Field("query", description="The model whose kernels and positions make s (A8).")
    space: Literal["filter", "projected"] = Field(
        "filter", description="Correlate in the filters' space (the paper), or after the projection heads."
    )
    center: Literal["none", "batch", "ema"] = Field(
        "none", description="Subtract the mean of kernels and of positions before the cosine."
    )


class Contrastive(Spec):
    """Eq. 7 and the variants of Table 3."""

    use: bool = True
    wi_neg: bool = Field(True, description="Negatives of the query's own modality too.")
    wi_pos: bool = Field(False, description="Two clips of each video; the partner is a positive of its own modality.")
    wi_pos_weight: NonNegativeFloat = 1.0
    tau: PositiveFloat = 0.07


class Moco(Spec):
    """Momentum encoders and queues."""

    K: PositiveInt = Field(15_000, le=10_000_000, description="Keys in each of the two queues.")
    m: Share = 0.999
    key_bn: Literal["shuffle", "aligned", "sync"] = Field(
        "shuffle",
        description="The key model's BN groups: of shuffled clips, the query's own (which leaks), or one of all clips.",
    )
    mask_same_video: bool = True
    inbatch_negatives: bool = Field(
        False, description="The keys of the step's other videos, on all ranks, are negatives beside the queues' (A12)."
    )


class Single(Spec):
    """A run of one modality: query and key are two clips of a video, or one clip augmented twice (A13)."""

    pair: Literal["two_clips", "same_clip"] = "two_clips"


class LambdaRamp(Spec):
    """Lambda grows from 0 to lambda_ac, by passes over the data or by the fall of L_cl below chance."""

    by: Literal["train_epoch", "contrast"] = "train_epoch"
    start: NonNegativeFloat = Field(1.0, description="Passes done (or share of chance lost) when lambda leaves 0.")
    end: NonNegativeFloat = Field(3.0, description="Passes done (or share of chance lost) when lambda is lambda_ac.")

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if self.end <= self.start:
            raise ValueError(f"end: {self.end} must be larger than start, {self.start}")
        if self.by == "contrast" and self.end > 1:
            raise ValueError(f"end: by contrast a share of chance lost, at most 1, not {self.end}; try 0.02 to 0.2")
        return self


class ModalityWeights(Spec):
    """A factor for each modality."""

    video: NonNegativeFloat = 1.0
    audio: NonNegativeFloat = 1.0


class Loss(Spec):
    """Eq. 8: L = L_cl + lambda_ac * (L_ac of video + L_ac of audio)."""

    lambda_ac: NonNegativeFloat = 1.5
    ac_reduction: Literal["sum", "mean", "per_modality"] = Field(
        "sum",
        description="Over the cells of a map (A9); per_modality is the mean times half the cells of both maps, so that "
        "both weigh alike and together about as much as summed.",
    )
    ac_weight: ModalityWeights = Field(ModalityWeights(), description="Factors of the two L_ac beside lambda.")
    ac_share: PositiveFloat | None = Field(
        None, description="Most that lambda * L_ac may be of L_cl in a step: lambda is lowered to keep it."
    )
    ramp: LambdaRamp | None = None


class Optimization(Spec):
    """SGD with a linear warm-up to a constant learning rate (A16, A17); or AdamW, which learns in fewer steps."""

    algorithm: Literal["sgd", "adamw"] = Field("sgd", description="The paper's; or Adam with decoupled weight decay.")
    lr: PositiveFloat = Field(0.01, description="Peak learning rate, before the warm-up's multiplier.")
    momentum: Share = Field(0.9, description="Of SGD; AdamW keeps 0.9 of the gradient and 0.99 of its square.")
    weight_decay: NonNegativeFloat = 1e-5
    wd_exclude_norm: bool = Field(False, description="No weight decay on batch norm and biases (A19).")
    batch: PositiveInt = Field(128, le=1_000_000, description="Clips in a step over all ranks.")
    epochs: PositiveInt = Field(200, le=1_000_000, description="Passes over the data (train_epochs).")
    warmup_epochs: NonNegativeFloat = 10
    warmup_multiplier: float = Field(
        1.0, ge=1, le=1e6, description="Above 1 the warm-up leads from lr to this many times lr, as GDT's does (A16)."
    )
    schedule: Literal["constant", "cosine", "step"] = "constant"
    milestones: tuple[PositiveInt, ...] = Field(
        (120, 160), description="Passes after which schedule step multiplies the learning rate by gamma (A17)."
    )
    gamma: PositiveFloat = 0.1

    @model_validator(mode="after")
    def _steps_down(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: {list(self.milestones)} must rise from one to the next")
        if self.schedule == "step" and not any(passes < self.epochs for passes in self.milestones):
            raise ValueError(f"milestones: schedule step needs one below epochs, which is {self.epochs}")
        return self


class Checkpoints(Spec):
    """When a training saves itself; it always does at its end and when asked to leave."""

    every_s: PositiveFloat = 300.0
    every_epochs: PositiveInt = 1
    keep: NonNegativeInt = Field(
        3, description="The newest this many stay, and what the next two name; older ones are removed. 0 keeps all."
    )
    keep_every: NonNegativeInt = Field(
        10, description="That of every pass with a number divisible by this is saved and stays; 0 is none."
    )
    keep_best: NonNegativeInt = Field(
        1,
        description="The best this many stay: by accuracy on the training clips where the job tells it (fine-tuning), "
        "else by the lowest loss, as means over a pass.",
    )

    def due_after(self, passes: int) -> bool:
        """Whether a checkpoint follows the end of pass number `passes`."""
        return passes % self.every_epochs == 0 or (self.keep_every > 0 and passes % self.keep_every == 0)
