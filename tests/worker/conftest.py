"""Small real things for the worker's tests: child programs of a few lines, marks of our own."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker import marks
from worker.marks import Mark
from worker.processes import kill_all

Spawn = Callable[[str], "subprocess.Popen[bytes]"]


@pytest.fixture
def mark() -> Mark:
    """A mark that no other test has."""
    return Mark(uuid.uuid4().hex, "here", uuid.uuid4(), 1, 0)


@pytest.fixture
def spawn(mark: Mark, tmp_path: Path) -> Iterator[Spawn]:
    """Start a Python program with the mark, in the test's folder, in a session of its own as torchrun's ranks are."""
    children = []

    def start(program: str) -> "subprocess.Popen[bytes]":
        env = os.environ | {marks.VARIABLE: str(mark)}
        command = [sys.executable, "-c", program]
        with (tmp_path / "log.txt").open("ab") as log:
            child = subprocess.Popen(command, env=env, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
        children.append(child)
        return child

    yield start
    assert kill_all(lambda: marks.carrying(mark))
    for child in children:
        child.wait()
