"""Processes that work on one file at a time. A file that kills or hangs its process costs that file alone."""

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, NamedTuple, TypeVar

Task = TypeVar("Task")
Answer = TypeVar("Answer")

TRIES = 2  # a process may also die of something that is not its file's fault
BEAT_S = 1.0
START_S = 120.0  # a busy machine takes its time to start a process


class Died(NamedTuple):
    """In place of an answer: the process ended, or gave no sign of life, each time the task was tried."""

    how: str


class Alive:
    """A task calls it as often as it likes; a sign of life goes out once a second."""

    def __init__(self, pipe: "Connection[Any, Any]") -> None:
        self._pipe, self._next = pipe, 0.0

    def __call__(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + BEAT_S
            self._pipe.send(None)


@dataclass
class _Member(Generic[Task]):
    process: Any
    pipe: "Connection[Any, Any]"
    task: Task | None = None
    tries: int = 0
    started: bool = False
    heard: float = field(default_factory=time.monotonic)


class Crew(Generic[Task, Answer]):
    """`work(task, alive)` in `size` processes of their own. `work` must be importable, tasks and answers picklable."""

    def __init__(self, work: Callable[[Task, Alive], Answer], size: int, quiet_s: float = 120.0) -> None:
        self._work, self._size, self._quiet_s = work, size, quiet_s
        # Spawned, not forked: FFmpeg and torch keep threads and locks that a fork would copy half.
        self._context = multiprocessing.get_context("spawn")
        self._members: list[_Member[Task]] = []

    def run(self, tasks: Iterable[Task], leaving: Callable[[], bool]) -> Iterator[tuple[Task, Answer | Died]]:
        """Answers as they come. When `leaving()` becomes true no task is begun, and those at work are dropped."""
        todo = deque((task, 0) for task in tasks)
        try:
            while (todo or any(member.task is not None for member in self._members)) and not leaving():
                self._hand_out(todo)
                yield from self._collect(todo)
        finally:
            self._dismiss()

    def _hand_out(self, todo: "deque[tuple[Task, int]]") -> None:
        busy = sum(member.task is not None for member in self._members)
        while len(self._members) < min(self._size, busy + len(todo)):
            self._members.append(self._engage())
        for member in self._members:
            if member.task is None and todo:
                member.task, member.tries = todo.popleft()
                member.heard = time.monotonic()
                try:
                    member.pipe.send(member.task)
                except BrokenPipeError:  # it died idle; _collect sees its end and tries the task elsewhere
                    member.tries -= 1

    def _collect(self, todo: "deque[tuple[Task, int]]") -> Iterator[tuple[Task, Answer | Died]]:
        ready = set(wait([member.pipe for member in self._members], timeout=0.2))
        for member in list(self._members):
            if member.pipe in ready:
                yield from self._hear(member, todo)
            elif member.task is not None and time.monotonic() - member.heard > self._patience(member):
                member.process.kill()
                yield from self._bury(member, todo, f"gave no sign of life for {self._quiet_s:g} s")

    def _patience(self, member: _Member[Task]) -> float:
        return self._quiet_s if member.started else max(self._quiet_s, START_S)

    def _hear(self, member: _Member[Task], todo: "deque[tuple[Task, int]]") -> Iterator[tuple[Task, Answer | Died]]:
        try:
            message = member.pipe.recv()
        except (EOFError, OSError):
            member.process.join()
            yield from self._bury(member, todo, _ending(member.process.exitcode))
            return
        member.heard, member.started = time.monotonic(), True
        if message is None:
            return
        error, answer = message
        task, member.task = member.task, None
        if error is not None:
            raise error
        assert task is not None
        yield task, answer

    def _bury(
        self, member: _Member[Task], todo: "deque[tuple[Task, int]]", how: str
    ) -> Iterator[tuple[Task, Answer | Died]]:
        member.process.join()
        member.pipe.close()
        self._members.remove(member)
        if member.task is None:
            return
        if member.tries + 1 < TRIES:
            todo.appendleft((member.task, member.tries + 1))
        else:
            yield member.task, Died(how)

    def _engage(self) -> _Member[Task]:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(target=_serve, args=(theirs, self._work), daemon=True)
        process.start()
        theirs.close()
        return _Member(process, ours)

    def _dismiss(self) -> None:
        for member in self._members:
            if member.task is None:
                member.pipe.close()  # it reads the end and goes
            else:
                member.process.kill()
        for member in self._members:
            member.process.join(5)
            if member.process.is_alive():
                member.process.kill()
                member.process.join()
        self._members.clear()


def _serve(pipe: "Connection[Any, Any]", work: Callable[[Any, Alive], Any]) -> None:
    """A process's life: tasks in, answers or exceptions out, until the pipe ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # the one who asked decides; it ends us through the pipe
    alive = Alive(pipe)
    pipe.send(None)  # the imports are done
    while True:
        try:
            task = pipe.recv()
        except (EOFError, OSError):
            os._exit(0)
        try:
            message: tuple[Exception | None, Any] = (None, work(task, alive))
        except Exception as error:  # goes to the one who asked, who raises it
            message = (error, None)
        try:
            pipe.send(message)
        except (BrokenPipeError, ConnectionResetError):
            os._exit(0)


def _ending(code: int | None) -> str:
    if code is not None and code < 0:
        return f"the decoder died of {signal.Signals(-code).name}"
    return f"the decoder ended with code {code}"
