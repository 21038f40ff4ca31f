"""One supervisor for a job and for a device on this machine, even without a database."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker.supervisor.locks import Busy, held


def test_a_second_holder_waits_in_vain(tmp_path: Path) -> None:
    with held(tmp_path, ["job-1", "gpu-a"], 0), pytest.raises(Busy, match="gpu-a"), held(tmp_path, ["gpu-a"], 0.05):
        pass


def test_others_are_not_in_the_way(tmp_path: Path) -> None:
    with held(tmp_path, ["gpu-a"], 0), held(tmp_path, ["gpu-b"], 0):
        pass


def test_what_was_left_is_free(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path, ["gpu-a", "gpu-b"], 0):
            pass


def test_a_failed_try_leaves_nothing_locked(tmp_path: Path) -> None:
    with held(tmp_path, ["b"], 0), pytest.raises(Busy), held(tmp_path, ["a", "b"], 0):
        pass
    with held(tmp_path, ["a"], 0):
        pass


def test_children_do_not_keep_it(tmp_path: Path) -> None:
    with held(tmp_path, ["gpu-a"], 0):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    with held(tmp_path, ["gpu-a"], 5):  # the kernel closes what is not handed on a moment after the start
        assert child.poll() is None
    child.communicate(b"\n")
