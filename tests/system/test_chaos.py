"""A few runs of the randomized fault test, and that it sees what it is for: guards that are missing."""

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).parents[2]


def chaos(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """In a process of its own: it has a service and settings of its own."""
    command = [sys.executable, "-m", "chaos", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)


def test_three_runs_break_no_invariant() -> None:
    """Among them: a machine, a supervisor and the database killed, the API stopped; cancels, pauses, edges."""
    done = chaos("--runs", "3", "--seed", "41")
    assert done.stdout.splitlines()[-1] == "violations: 0", done.stdout + done.stderr
    assert done.returncode == 0, done.stderr


def test_guards_that_are_missing_are_seen() -> None:
    """Without the fence a supervisor that was given up goes on writing; without the index devices are leased twice."""
    done = chaos("--planted")
    found = [line for line in done.stdout.splitlines() if line.startswith("planted, ")]
    assert len(found) == 2, done.stdout + done.stderr
    assert not any(line.endswith(" 0 violations") for line in found), done.stdout
    assert "nothing_old_is_stored: " in done.stdout
    assert "devices_are_leased_once: " in done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
