"""Others' software, to measure ours against. `make peers` installs it apart, into .venv-peers; nothing needs it."""

from pathlib import Path

_VENV = Path(__file__).parents[2] / ".venv-peers"
PYTHON = _VENV / "bin" / "python"
TORCHCODEC = _VENV / "torchcodec"  # in a folder of its own: it goes with the torch that this project has


def installed() -> bool:
    """Whether there is somebody to compare with."""
    return PYTHON.exists()
