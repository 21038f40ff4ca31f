"""Which code this is: kept with every job and result."""

from typing import NamedTuple


class CodeVersion(NamedTuple):
    git_sha: str | None  # "+" at its end: with changes
    lock_sha256: str | None


def code_version() -> CodeVersion:
    """Read once a process, from the checkout if there is one."""
    raise NotImplementedError
