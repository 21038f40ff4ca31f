"""How fine-tuning cuts its clips and takes its steps; the defaults are METHOD 7.1's."""

from typing import Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cmac_core.specs.base import Spec
from cmac_core.specs.clips import MEMORY, ColorJitter, Share


class FinetuneJitter(ColorJitter):
    """As in pretraining, on four clips of five. `true` and `false` stand for `{"on": true}` and `{"on": false}`."""

    p: Share = 0.8

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, body: object) -> object:
        return {"on": body} if isinstance(body, bool) else body


class TrainingClips(Spec):
    """Augmentation and reading of training clips; their length and their crop are the job's geometry."""

    short_side: tuple[PositiveInt, PositiveInt] = Field(
        (128, 160), description="The short side is resized to a length drawn from this range, pixels."
    )
    hflip: Share = 0.5
    retry_chain: PositiveInt = Field(10, description="How many replacements are tried for a broken clip.")
    max_bad_share: Share = Field(0.001, description="The job fails when more videos than this had to be replaced.")
    workers: NonNegativeInt = Field(2, description="Loader processes per rank; they only decode.")
    memory_gb: NonNegativeFloat = Field(1.0, description=MEMORY)


class FinetuneOptimization(Spec):
    """SGD: a linear warm-up to the peak, then down by `gamma` at each milestone."""

    lr: PositiveFloat = Field(0.005, description="Peak learning rate of the classifier.")
    backbone_lr_mult: PositiveFloat = Field(1.0, description="The encoder learns at this many times lr.")
    momentum: Share = 0.9
    weight_decay: NonNegativeFloat = 5e-3
    batch: PositiveInt = Field(16, le=1_000_000, description="Clips in a step over all ranks.")
    epochs: PositiveInt = Field(12, le=1_000_000, description="Passes over the data (train_epochs).")
    warmup_epochs: NonNegativeFloat = 2
    milestones: tuple[PositiveInt, ...] = Field(
        (6, 10), description="Passes after which the learning rate is multiplied by gamma."
    )
    gamma: PositiveFloat = 0.05

    @model_validator(mode="after")
    def _rises(self) -> Self:
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"milestones: {list(self.milestones)} must rise from one to the next")
        return self
