"""Why a run ends early, in words that a person can act on. No torch here."""

from typing import ClassVar

from cmac_core.events import Reason


class JobError(Exception):
    """A run cannot go on. The message says what was found, the hint what to do about it."""

    reason: ClassVar[Reason] = "user_error"

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UserError(JobError):
    """What the user asked for does not fit what is there."""


class BadSpec(JobError):
    """The spec itself is not valid."""

    reason = "bad_spec"


class DataError(JobError):
    """The data are not fit to be learnt from."""

    reason = "data_error"


class Diverged(JobError):
    """Losses or gradients are no longer finite."""

    reason = "diverged"


class DiskFull(JobError):
    """What has to be kept could not be written."""

    reason = "disk_full"


class Left(Exception):
    """The run was asked to leave, and has saved what it needs to go on."""
