"""Others' software, to measure ours against. `make peers` installs it apart, into .venv-peers; nothing needs it."""

from pathlib import Path

PYTHON = Path(__file__).parents[2] / ".venv-peers" / "bin" / "python"


def installed() -> bool:
    """Whether there is somebody to compare with."""
    return PYTHON.exists()
