"""Marks find an attempt's processes, and nobody else's."""

import subprocess
import uuid
from collections.abc import Callable

import pytest

from worker import marks
from worker.marks import Census, Mark, carrying, mark_of, marked


def test_a_mark_survives_writing_and_reading(mark: Mark) -> None:
    assert Mark.parse(str(mark)) == mark


def test_a_marked_process_and_its_children_are_found(
    spawn: Callable[[str], "subprocess.Popen[bytes]"], mark: Mark
) -> None:
    child = spawn(
        "import subprocess, sys\n"
        "subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'], start_new_session=True)"
    )
    while len(found := carrying(mark)) < 2:
        assert child.poll() is None
    assert child.pid in found
    assert mark_of(child.pid) == mark


def test_another_installation_node_or_attempt_is_not_ours(
    spawn: Callable[[str], "subprocess.Popen[bytes]"], mark: Mark
) -> None:
    child = spawn("import time; time.sleep(60)")
    assert child.pid in marked(mark.installation, mark.node)
    assert not marked("another", mark.node)
    assert not marked(mark.installation, "elsewhere")
    assert not carrying(mark._replace(attempt=uuid.uuid4()))
    assert not carrying(mark._replace(epoch=2))


def test_an_unmarked_process_has_no_mark() -> None:
    assert mark_of(1) is None


def test_a_census_finds_whom_a_look_finds_and_who_comes_later(
    spawn: Callable[[str], "subprocess.Popen[bytes]"], mark: Mark
) -> None:
    census, elsewhere = Census(mark.installation, mark.node), Census("another", mark.node)
    for _ in range(3):
        assert census.take() == {}
    child = spawn("import time; time.sleep(60)")
    for _ in range(3):
        assert census.take() == {child.pid: mark}
        assert elsewhere.take() == {}
    child.kill()
    child.wait()
    assert census.take() == {}


def test_who_was_asked_twice_is_not_asked_again_unless_the_pid_is_given_to_another(
    mark: Mark, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def ask(pid: int) -> None:
        asked.append(pid)

    monkeypatch.setattr(marks, "mark_of", ask)
    census = Census(mark.installation, mark.node)
    for _ in range(4):
        census.take()
    assert asked.count(1) == 2
    census._strangers[1] = (census._strangers[1][0] + 1, 2)  # as if that had been another process
    census.take()
    assert asked.count(1) == 3
