"""Which code this is: kept with every job and result."""

import hashlib
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple


class CodeVersion(NamedTuple):
    git_sha: str | None  # "+" at its end: with changes
    lock_sha256: str | None  # of requirements/dev.txt


@cache
def code_version() -> CodeVersion:
    """Read once a process, from the checkout if there is one."""
    checkout = Path(__file__).resolve().parent.parent
    lock = checkout / "requirements" / "dev.txt"
    return CodeVersion(_git_sha(checkout), hashlib.sha256(lock.read_bytes()).hexdigest() if lock.exists() else None)


def _git_sha(checkout: Path) -> str | None:
    if not (checkout / ".git").exists():
        return None
    try:
        sha = _git(checkout, "rev-parse", "HEAD")
        return sha + ("+" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):  # no git here, or a checkout of another user
        return None


def _git(checkout: Path, *arguments: str) -> str:
    command = ["git", "-C", str(checkout), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
