"""The scripted afternoon in its short form: what was decided was fair, by the program's own checks, and is told."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]
# What happens in this order, whatever else does between.
TOLD = (
    r"ben +submits wide: 8 GPUs on 2 nodes",
    r"lets wide wait \(resources\): .* Expected \d\d:\d\d UTC",
    r"lets slow wait \(reserved\): 2 GPUs on gpu-0\d free but kept for job wide",
    r"gives quick 2 GPUs on gpu-0\d, .*; it fills in before wide",
    r"gives wide 8 GPUs on gpu-0\d and gpu-0\d",
    r"lets sweep-\d wait \(quota\): your running jobs hold 8 of the 8 GPUs allowed",
    r"asks sweep-\d to save and leave \(preempt\): for job deadline",
    r"gives deadline 2 GPUs",
    r"admin +declares gpu-0\d draining: a fan is loud",
    r"asks sweep-\d to save and leave \(drain\)",
    r"\(accident\) +power is gone on gpu-0\d",
    r"night is back in line \(worker_lost\)",
    r"gives night 2 GPUs on gpu-0\d, .*; it goes on from step \d+",
)


# Where launches come to nothing or it does not go on, the machine had no time for it, and where nobody had to leave,
# a job ended by itself in that moment: then once more, slower.
LEASES = ("2/6/12/15", "4/12/24/30")
MISSED = r"launch_rejected|does not go on|0 jobs had to leave|nobody had to leave"


def test_a_short_afternoon_is_fair_and_says_why() -> None:
    """No lease twice, the quota kept, the reservation not delayed, nothing lost, nobody passed over: see its checks."""
    done = played(LEASES[0])
    if done.returncode and re.search(MISSED, done.stdout + done.stderr):
        done = played(LEASES[1])
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("violations: 0"), done.stdout
    rest = done.stdout
    for told in TOLD:
        found = re.search(told, rest)
        assert found, f"{told}\n{done.stdout}"
        rest = rest[found.end() :]


def played(lease: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "afternoon", "--scale", "0.5", "--lease", lease]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
