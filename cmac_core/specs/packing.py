"""What a pack may be told of its source and of its share: the layouts of public data sets, shards and their merge."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, NonNegativeInt, model_validator

from cmac_core.specs.base import Spec

Layout = Literal[
    "ucf101",
    "hmdb51",
    "kinetics400",
    "audioset",
    "vggsound",
    "esc50",
    "dcase2013",
    "dcase2014",
    "folder",
    "table",
]
SOUND_ALONE = ("esc50", "dcase2013", "dcase2014")
WITHOUT_LISTS = ("folder", "table", "dcase2013", "dcase2014")


class Shard(Spec):
    """One share of the files of a source: those whose id falls to it, whatever other files there are."""

    index: NonNegativeInt = Field(description="Counts from 0.")
    of: Annotated[int, Field(ge=1, le=1000)]

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if self.index >= self.of:
            raise ValueError(f"index: counts from 0 to {self.of - 1}, so {self.index} is no shard of {self.of}")
        return self


class PackedShard(Spec):
    """A pack of one shard; the merge waits for it."""

    job: UUID
