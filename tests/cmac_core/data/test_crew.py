"""A task that kills, hangs or fails its process costs that task alone."""

import multiprocessing
import time
from pathlib import Path

import pytest

from cmac_core.data.crew import Crew, Died
from tests.cmac_core.data import crew_work


def never() -> bool:
    return False


def test_all_tasks_are_answered_by_processes_of_their_own() -> None:
    crew: Crew[str, str] = Crew(crew_work.act, 2)
    answers = dict(crew.run([f"task{i}" for i in range(20)], never))
    assert answers == {f"task{i}": f"TASK{i}" for i in range(20)}
    assert not multiprocessing.active_children()


def test_a_task_that_kills_its_process_is_tried_twice_and_then_told(tmp_path: Path) -> None:
    crew: Crew[str, str] = Crew(crew_work.act, 1)
    once = f"crash once {tmp_path / 'mark'}"
    answers = dict(crew.run(["a", "crash", once, "b"], never))
    assert answers == {"a": "A", "b": "B", once: once.upper(), "crash": Died("the decoder died of SIGSEGV")}


def test_a_task_without_a_sign_of_life_is_ended_and_one_that_gives_signs_is_not() -> None:
    crew: Crew[str, str] = Crew(crew_work.act, 2, quiet_s=1.2)
    answers = dict(crew.run(["hang", "beat"], never))
    assert answers == {"beat": "BEAT", "hang": Died("gave no sign of life for 1.2 s")}


def test_an_exception_of_a_task_reaches_the_one_who_asked() -> None:
    crew: Crew[str, str] = Crew(crew_work.act, 1)
    with pytest.raises(ValueError, match="it failed"):
        list(crew.run(["a", "fail", "b"], never))
    assert not multiprocessing.active_children()


def test_leaving_drops_what_is_at_work_at_once() -> None:
    crew: Crew[str, str] = Crew(crew_work.act, 1)
    answered: list[str] = []
    start = time.monotonic()
    for task, _ in crew.run(["a", "hang", "b"], lambda: bool(answered)):
        answered.append(task)
    assert answered == ["a"]
    assert time.monotonic() - start < 20
    assert not multiprocessing.active_children()
