"""The method's own choices: networks, attention, contrast, loss and optimisation (METHOD 3, 5, 6)."""

from typing import Literal, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cmac_core.specs.base import Spec
from cmac_core.specs.clips import Share


class Head(Spec):
    """Projection of a pooled map into the joint space; shared by both modalities by default (A2)."""

    dim: PositiveInt = Field(256, le=65_536)
    shared: bool = True


class Saliency(Spec):
    """h: conv 3 -> hidden, BN, ReLU, conv 1 -> one logit a cell (A10)."""

    hidden: PositiveInt = Field(256, le=65_536)


class Model(Spec):
    """R(2+1)D-18 and ResNet-9. `width` is the first stage's; the last map has 8 * width channels."""

    video: Literal["r2plus1d_18"] = "r2plus1d_18"
    audio: Literal["resnet9"] = "resnet9"
    width: PositiveInt = Field(64, le=1024)
    depth: Literal[1, 2] = Field(2, description="Residual blocks in a stage of the video network; 2 is R(2+1)D-18.")
    head: Head = Head()
    saliency: Saliency = Saliency()
    bn_group: PositiveInt = Field(
        16, description="Clips that share batch statistics, whatever the number of ranks; batch / ranks is a multiple."
    )

    @property
    def channels(self) -> int:
        """Channels of the last map of either encoder: 512 at the paper's width."""
        return 8 * self.width


class CorrelationFiltering(Spec):
    """Pyramid correlation filtering, Eqs. 3 and 4 (A4 to A8, METHOD 13)."""

    norm: Literal["cosine", "softmax", "none"] = "cosine"
    scales: Literal[1, 2, 3] = 2
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
    key_bn: Literal["shuffle", "aligned"] = "shuffle"
    mask_same_video: bool = True


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


class Loss(Spec):
    """Eq. 8: L = L_cl + lambda_ac * (L_ac of video + L_ac of audio)."""

    lambda_ac: NonNegativeFloat = 1.5
    ac_reduction: Literal["sum", "mean"] = Field("sum", description="Over the cells of a map (A9).")
    ramp: LambdaRamp | None = None


class Optimization(Spec):
    """SGD with a linear warm-up to a constant learning rate (A16, A17)."""

    lr: PositiveFloat = Field(0.01, description="Peak learning rate.")
    momentum: Share = 0.9
    weight_decay: NonNegativeFloat = 1e-5
    batch: PositiveInt = Field(128, le=1_000_000, description="Clips in a step over all ranks.")
    epochs: PositiveInt = Field(200, le=1_000_000, description="Passes over the data (train_epochs).")
    warmup_epochs: NonNegativeFloat = 10
    schedule: Literal["constant", "cosine"] = "constant"


class Checkpoints(Spec):
    """When a training saves itself; it always does at its end and when asked to leave."""

    every_s: PositiveFloat = 300.0
    every_epochs: PositiveInt = 1
    keep: NonNegativeInt = Field(3, description="Older ones than the newest this many are removed; 0 keeps all.")
