"""What both faces must know to meet: where the home, the database and the broker are, and how long a lease lasts."""

import os
import socket
import uuid
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

from pydantic import Field, NonNegativeFloat, PositiveInt, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from store.receivers import Allowed


class LeaseTimes(NamedTuple):
    """Seconds of QUEUE 6: how often a supervisor is heard, and after how much silence what happens."""

    heartbeat: float
    suspect: float  # shown
    fence: float  # the supervisor stops its own processes
    lost: float  # the reconciler gives the attempt up

    def scaled(self, seconds: float) -> float:
        """A time of QUEUE 4, 5 or 8 under this setting: with a heartbeat of 1 s instead of 10 s all are a tenth."""
        return seconds * self.heartbeat / 10


class Settings(BaseSettings):
    """Read from CMAC_* at the first call of `settings()`."""

    model_config = SettingsConfigDict(env_prefix="CMAC_", extra="ignore", frozen=True, env_ignore_empty=True)

    home: Path = Field(Path("~/.cmac-lab"), description="Data, keys and sockets of this installation.")
    database_url: str | None = Field(None, description="postgresql://...; without one the embedded PostgreSQL.")
    broker_url: str | None = Field(None, description="redis://...; without one the embedded Redis.")
    listen: str | None = Field(
        None,
        description="Address at which the embedded PostgreSQL and Redis are there for other machines, with a password; "
        "without one they have no port.",
    )
    lease: str = Field("10/30/100/120", description="heartbeat/suspect/fence/lost, seconds.")
    node_name: str = Field(default_factory=socket.gethostname, description="Unique among the lab's machines.")
    node_address: str | None = Field(
        None, description="Where other machines reach this one; default: the address it reaches the database from."
    )
    cpu_slots: PositiveInt | None = Field(None, description="CPU devices to offer; default cores / 4, at least 2.")
    queued_per_user: PositiveInt = Field(1000, description="Most jobs of one user that may wait.")
    preempt_after_s: NonNegativeFloat = Field(
        60.0, description="The first in line waits so long before jobs of lower tiers leave for it."
    )
    least_run_s: NonNegativeFloat = Field(
        600.0, description="A job has run so long before it has to leave for one of a higher tier."
    )
    gpu_hour_price: float | None = None
    keep_logs_days: NonNegativeFloat = Field(90, description="Logs of jobs go so long after their end; 0 keeps them.")
    keep_curves_days: NonNegativeFloat = Field(
        90, description="Curves of jobs are thinned so long after their end; 0 keeps every point."
    )
    keep_events_days: NonNegativeFloat = Field(
        90, description="Events of jobs, but for warnings and the end, go so long after their end; 0 keeps them."
    )
    webhook_allow: str = Field("", description="Hosts and ranges in house that webhooks may call: a.lan,10.1.0.0/16.")

    @model_validator(mode="after")
    def _lease_is_safe(self) -> Self:
        heartbeat, suspect, fence, lost = self.times
        if not (0 < 3 * heartbeat <= suspect <= fence / 2 and fence <= lost * 5 / 6):
            raise ValueError("CMAC_LEASE: must satisfy 3 heartbeat <= suspect <= fence / 2 and fence <= lost * 5 / 6")
        if lost - fence < 1.5 * heartbeat:
            raise ValueError("CMAC_LEASE: lost must come at least 1.5 heartbeats after fence, the time to kill")
        return self

    @model_validator(mode="after")
    def _webhooks_are_named(self) -> Self:
        _ = self.webhooks_allowed
        return self

    @property
    def webhooks_allowed(self) -> Allowed:
        """What webhooks may call beside public addresses. Raises ValueError when it is not hosts and ranges."""
        try:
            return Allowed.parse(self.webhook_allow)
        except ValueError as error:
            raise ValueError(f"CMAC_WEBHOOK_ALLOW: {error}") from error

    @property
    def times(self) -> LeaseTimes:
        """The lease as numbers. Raises ValueError when it is not four of them."""
        try:
            heartbeat, suspect, fence, lost = (float(part) for part in self.lease.split("/"))
        except ValueError as error:
            raise ValueError(f"CMAC_LEASE: {self.lease!r} is not heartbeat/suspect/fence/lost in seconds") from error
        return LeaseTimes(heartbeat, suspect, fence, lost)

    @property
    def root(self) -> Path:
        """The home as an absolute path."""
        return self.home.expanduser().absolute()

    @property
    def jobs_dir(self) -> Path:
        return self.root / "jobs"

    @property
    def datasets_dir(self) -> Path:
        return self.root / "datasets"

    @property
    def features_dir(self) -> Path:
        """Where evaluations keep features for each other; it may be emptied at any time."""
        return self.root / "features"

    @property
    def installation(self) -> str:
        """Id of this home, made at the first call: marks of processes carry it (RULINGS 12)."""
        file = make_home(self) / "installation"
        if not file.exists():
            draft = file.with_name(f"installation.{uuid.uuid4().hex}")  # threads of one process ask too
            draft.write_text(uuid.uuid4().hex)
            try:
                os.link(draft, file)  # the first of several processes wins
            except FileExistsError:
                pass
            finally:
                draft.unlink()
        return file.read_text().strip()

    def job_folder(self, job: uuid.UUID) -> Path:
        return self.jobs_dir / str(job)

    def attempt_folder(self, job: uuid.UUID, epoch: int) -> Path:
        """Where one attempt lives: spec.json, inputs.json, log.txt, events.jsonl, checkpoints/, artifacts/."""
        return self.job_folder(job) / f"epoch-{epoch}"


@cache
def settings() -> Settings:
    """The settings of this process. Tests call `settings.cache_clear()` after changing the environment."""
    return Settings()


def make_home(settings: Settings) -> Path:
    """The home, made when missing and closed to others.

    Root's embedded PostgreSQL runs as another user, which must pass through: then others may search, not list.
    """
    root = settings.root
    root.mkdir(parents=True, exist_ok=True, mode=0o700)
    root.chmod(0o711 if os.geteuid() == 0 else 0o700)
    return root
