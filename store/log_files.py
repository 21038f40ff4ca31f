"""Where the processes of an attempt print: one file for each of its machines, in the attempt's folder."""

from pathlib import Path


def log_file(folder: Path, part: int = 0) -> Path:
    """What the processes of a part print."""
    return folder / (f"log-{part}.txt" if part else "log.txt")


def of_job(folder: Path) -> list[Path]:
    """Those of all attempts and parts below a job's folder."""
    return sorted(folder.glob("epoch-*/log*.txt"))
