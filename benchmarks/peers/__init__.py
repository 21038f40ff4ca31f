"""Others' software that ours is measured against, installed apart by `make peers` (.venv-peers): none of it is needed."""

from pathlib import Path

PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"


def installed() -> bool:
    """Whether there is somebody to compare with."""
    return PYTHON.exists()
