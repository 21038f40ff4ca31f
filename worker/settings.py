"""What only the worker must know; what both faces share stands in the store's settings."""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.settings import settings


class WorkerSettings(BaseSettings):
    """Read from CMAC_* at the first call of `worker_settings()`."""

    model_config = SettingsConfigDict(env_prefix="CMAC_", extra="ignore", frozen=True, env_ignore_empty=True)

    min_free_mb: NonNegativeInt = Field(512, description="No job starts with less free disk space, MiB.")
    hung_s: PositiveFloat = Field(
        600.0, description="A training without a step for so long is ended; 20 usual steps are always granted."
    )
    on_partition: Literal["auto", "fence", "keep_running"] = Field(
        "auto", description="Without the database: end the run in time, or go on. auto: go on with one node alone."
    )


@cache
def worker_settings() -> WorkerSettings:
    """The worker's settings of this process."""
    return WorkerSettings()


def node_folder() -> Path:
    """This node's own folder below the home: locks, and what its processes tell each other."""
    return settings().root / "nodes" / settings().node_name


def locks_folder() -> Path:
    return node_folder() / "locks"
