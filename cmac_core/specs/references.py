"""How a spec names what it reads: by reference, resolved to a path and a hash before the core starts."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Discriminator, Field, Tag

from cmac_core.specs.base import Spec
from cmac_core.specs.method import Model

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
DatasetName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,63}(@[1-9][0-9]{0,5})?$",
        description="A packed dataset, NAME or NAME@VERSION; without a version the newest at submit.",
    ),
]
RelativePath = Annotated[str, Field(min_length=1, max_length=1000, description="Relative to its root.")]

# Keys of inputs.json, which lies beside spec.json: {key: {"path": ..., "sha256": ... or null}}.
DATASET = "dataset"  # folder of the packed dataset that the spec names; sha256 of its manifest.jsonl
CHECKPOINT = "checkpoint"  # state.pt of the checkpoint that an evaluation names
SOURCE = "source"  # folder that a pack reads; no hash
OUTPUT = "output"  # folder that a pack writes; kept over attempts, so that it resumes; no hash
PACKED = "packed."  # and a number: folder that an earlier pack wrote, from which one takes over clips; no hash
CACHE = "cache"  # folder in which evaluations keep features for each other; optional, no hash
RESUME = "resume"  # state.pt from which this attempt goes on
WEIGHTS = "weights"  # file that an import reads; no hash


class StoredCheckpoint(Spec):
    """One checkpoint by its id."""

    id: UUID


class JobCheckpoint(Spec):
    """What a pretraining job leaves, or will leave: the evaluation waits for it."""

    job: UUID
    which: Literal["last"] = "last"


class RandomInit(Spec):
    """No training: encoders as initialised from the job's seed."""

    random_init: Literal[True]
    model: Model = Model()


def _form(value: object) -> str | None:
    """Which form is meant, by its first telling key; None is refused with the message below."""
    keys = value if isinstance(value, dict) else vars(value) if isinstance(value, Spec) else ()
    return next((f"<{key}>" for key in ("id", "job", "random_init") if key in keys), None)


# Tags stand in angle brackets so that an error's path tells them from fields.
CheckpointReference = Annotated[
    Annotated[StoredCheckpoint, Tag("<id>")]
    | Annotated[JobCheckpoint, Tag("<job>")]
    | Annotated[RandomInit, Tag("<random_init>")],
    Discriminator(
        _form,
        custom_error_type="checkpoint_form",
        custom_error_message='give {"id": CHECKPOINT}, {"job": JOB} or {"random_init": true}',
    ),
]
