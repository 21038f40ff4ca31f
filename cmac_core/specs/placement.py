"""What a job asks of the machines and of the queue. The core does not look at it."""

from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from cmac_core.specs.base import Spec

Priority = Literal["urgent", "high", "normal", "low"]
Labels = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=256)]], Field(max_length=32)
]


class Resources(Spec):
    """GPUs or CPU slots, never both. Neither: one GPU, or without GPUs what the kind needs in slots."""

    gpus: PositiveInt | None = None
    cpu_slots: PositiveInt | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.gpus is not None and self.cpu_slots is not None:
            raise ValueError("give gpus or cpu_slots, not both")
        return self


class After(Spec):
    """An edge: this job waits for another."""

    job: UUID
    kind: Literal["afterok", "afterany"] = "afterok"


class Queue(Spec):
    """How the job waits and what happens when it fails."""

    project: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")] = "default"
    priority: Priority = "normal"
    labels: Labels = Field({})
    after: tuple[After, ...] = ()
    hold: bool = Field(False, description="It waits until somebody releases it.")
    preemptible: bool = Field(
        False, description="It may have to save and leave for a higher tier; one of the lowest always may."
    )
    max_restarts: Annotated[NonNegativeInt, Field(le=100)] = Field(
        2, description="Restarts after an error of the job itself; faults of machines are counted apart."
    )
    grace_s: NonNegativeFloat = Field(120.0, description="Time to save when asked to leave.")
    walltime_s: PositiveFloat | None = Field(
        None,
        le=1e8,
        description="Running time that it may have in all; then it saves and ends. Short jobs start sooner.",
    )

    @model_validator(mode="after")
    def _time_to_save(self) -> Self:
        if self.walltime_s is not None and self.walltime_s <= self.grace_s:
            raise ValueError(f"walltime_s must be more than grace_s ({self.grace_s:g}), the time to save in")
        return self
