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
    """GPUs or CPU slots, never both. Neither: one GPU a machine, or without GPUs what the kind needs in slots."""

    gpus: PositiveInt | None = Field(None, description="On all machines together.")
    cpu_slots: PositiveInt | None = Field(None, description="On all machines together.")
    nodes: Annotated[PositiveInt, Field(le=1000)] = Field(
        1, description="Machines that share a training in equal parts; they have one GPU model and one storage."
    )
    gpu_model: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(
        None, description="Only GPUs whose model's name holds this, as in H200 or A100."
    )
    node_labels: Labels = Field({}, description="Only machines that have all of these labels.")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.gpus is not None and self.cpu_slots is not None:
            raise ValueError("give gpus or cpu_slots, not both")
        if self.cpu_slots is not None and self.gpu_model is not None:
            raise ValueError("gpu_model: CPU slots have none; ask for gpus, or leave it out")
        return self

    @model_validator(mode="after")
    def _equal_parts(self) -> Self:
        for name, asked in (("gpus", self.gpus), ("cpu_slots", self.cpu_slots)):
            if asked is not None and asked % self.nodes:
                below, above = asked // self.nodes * self.nodes, (asked // self.nodes + 1) * self.nodes
                nearest = f"{below} or {above}" if below else f"{above}"
                raise ValueError(f"{name}: {asked} do not make equal parts on {self.nodes} nodes; give {nearest}")
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
