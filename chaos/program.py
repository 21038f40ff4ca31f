"""A small deterministic program that speaks as the core does: steps, curves, checkpoints, a result of all its steps.

It needs no torch and half a second to start, so that many runs fit into a minute. Each step's number depends on all
steps before it: one that is lost, done twice or resumed from the wrong state changes every number behind it.
"""

import hashlib
import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

from cmac_core.events import (
    FAILED,
    LEFT,
    Artifact,
    Ended,
    EventLog,
    Metrics,
    Progress,
    Result,
    Saved,
    Started,
    Value,
    read,
)
from cmac_core.specs.references import RESUME
from cmac_core.training.checkpoint_files import STATE, Sidecar, name_of, sha256_of_bytes, write
from cmac_core.training.signals import StopFlag, write_pid_file

KIND = "finetune"  # has checkpoints and their retention, and with one slot needs no torchrun
CURVE, TRACE = "loss", "trace.json"
SAVE_EVERY = 4  # steps
KEPT = 3  # checkpoints, by the service alone: the program saves oftener than the service hears of it
Ail = Literal["nothing", "bug", "user_error", "disk_full"]


@dataclass(frozen=True)
class Course:
    """What a job does. `ail`: what it says has gone wrong, once at half its way; a bug always, and at its start."""

    seed: int
    steps: int
    pace_s: float
    ail: Ail = "nothing"

    def labels(self) -> dict[str, str]:
        """As labels of a spec, which is how it reaches the program."""
        return {"steps": str(self.steps), "pace_s": str(self.pace_s), "ail": self.ail}

    @classmethod
    def of(cls, spec: dict[str, Any]) -> Self:
        """The course that a stored spec asks for."""
        labels = spec["queue"]["labels"]
        return cls(int(spec["seed"]), int(labels["steps"]), float(labels["pace_s"]), labels["ail"])

    def goes_wrong_at(self) -> int:
        """The step, 0 for none."""
        return {"nothing": 0, "bug": 2}.get(self.ail, self.steps // 2)


@dataclass
class State:
    """All that is remembered between two steps."""

    digest: str
    losses: list[float] = field(default_factory=list)

    @property
    def step(self) -> int:
        return len(self.losses)

    def take_step(self) -> None:
        """The next number, from all before."""
        self.digest = hashlib.sha256(f"{self.digest}/{self.step + 1}".encode()).hexdigest()
        self.losses.append(int(self.digest[:8], 16) / 16**8)

    def dump(self) -> bytes:
        return json.dumps({"digest": self.digest, "losses": self.losses}).encode()


def start(seed: int) -> State:
    """The state before the first step."""
    return State(hashlib.sha256(str(seed).encode()).hexdigest())


def undisturbed(course: Course) -> State:
    """Where a course ends when nothing disturbs it."""
    state = start(course.seed)
    for _ in range(course.steps):
        state.take_step()
    return state


def main(spec: dict[str, Any], folder: Path) -> int:
    """Run a spec's course in an attempt's folder; the exit code. Rank 0 works, others stay as long as it does."""
    stop = StopFlag()
    stop.listen()
    if rank := int(os.environ.get("RANK", "0")):
        return accompany(folder, rank, stop)
    run = Run(Course.of(spec), folder, EventLog(folder), stop)
    write_pid_file(folder, 0)
    # As a loader's worker does, it outlives a killed parent until somebody ends it.
    beside = subprocess.Popen(["sleep", "600"], start_new_session=True)
    try:
        return run()
    finally:
        beside.kill()


def accompany(folder: Path, rank: int, stop: StopFlag) -> int:
    """Be another rank: there until rank 0 has had its last word, or all are asked to leave; the exit code."""
    write_pid_file(folder, rank)
    while not stop.raised:
        if any(isinstance(line, Ended) for line in read(folder)[0]):
            return 0
        time.sleep(0.3)
    return LEFT


@dataclass
class Run:
    """One attempt at a course."""

    course: Course
    folder: Path
    log: EventLog
    stop: StopFlag

    def __call__(self) -> int:
        state = self._resume()
        resumed = state.step or None
        self.log.write(Started(spec={}, versions={"program": "1"}, world_size=1, resumed_step=resumed))
        while state.step < self.course.steps:
            if self.stop.raised:
                self._save(state)
                return self._end(LEFT, Ended(outcome="left"))
            time.sleep(self.course.pace_s)
            state.take_step()
            self._tell(state)
            if state.step == self.course.goes_wrong_at() and (reason := self._ails()):
                return self._end(FAILED, Ended(outcome="failed", reason=reason, detail="It was asked to fail here."))
            if state.step % SAVE_EVERY == 0:
                self._save(state)
        return self._finish(state)

    def _resume(self) -> State:
        inputs = json.loads((self.folder / "inputs.json").read_text())
        if RESUME not in inputs:
            return start(self.course.seed)
        return State(**json.loads(Path(inputs[RESUME]["path"]).read_bytes()))

    def _tell(self, state: State) -> None:
        step, of = state.step, self.course.steps
        self.log.write(Metrics(step=step, train_epoch=step / of, values={CURVE: state.losses[-1]}))
        self.log.write(Progress(phase="train", step=step, of=of))

    def _ails(self) -> Literal["user_error", "disk_full"] | None:
        if self.course.ail == "bug":
            return "user_error"
        said = self.folder.parent / "said"  # of the job, not of the attempt: it goes wrong once
        if self.course.ail == "nothing" or said.exists():
            return None
        said.touch()
        return self.course.ail

    def _save(self, state: State) -> None:
        checkpoints, data = self.folder / "checkpoints", state.dump()
        file = checkpoints / name_of(state.step) / STATE
        if file.exists() or state.step == 0:
            return
        train_epoch, sha256 = state.step / self.course.steps, sha256_of_bytes(memoryview(data))
        sidecar = Sidecar(
            step=state.step,
            train_epoch=train_epoch,
            sha256=sha256,
            bytes=len(data),
            world_size=1,
            spec_sha256="",
            versions={},
        )
        write(checkpoints, memoryview(data), sidecar)
        path = str(file.relative_to(self.folder))
        self.log.write(Saved(step=state.step, train_epoch=train_epoch, path=path, sha256=sha256, bytes=len(data)))

    def _finish(self, state: State) -> int:
        data = json.dumps(state.losses).encode()
        file = self.folder / "artifacts" / TRACE
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        path, sha256 = str(file.relative_to(self.folder)), sha256_of_bytes(memoryview(data))
        kind, media_type = "table", "application/json"
        self.log.write(
            Artifact(name=TRACE, kind=kind, media_type=media_type, path=path, sha256=sha256, bytes=len(data))
        )
        value = Value(name="accuracy", value=state.losses[-1], n=self.course.steps)
        self.log.write(Result(values=(value,), protocol={"digest": state.digest}))
        return self._end(0, Ended(outcome="finished"))

    def _end(self, code: int, ended: Ended) -> int:
        self.log.write(ended)
        self.log.sync()
        self.log.close()
        return code
