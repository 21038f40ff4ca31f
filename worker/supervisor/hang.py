"""A training that has stopped stepping while its processes live: noticed, and asked where it stands (QUEUE 6)."""

import hashlib
import signal
import statistics
import time
from collections import deque
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

from cmac_core.events import Artifact, Progress
from worker.marks import Mark
from worker.processes import send
from worker.supervisor.leaving import ranks

TRAIN = "train"  # the phase that steps; others may think for as long as they like
TIMES_MEDIAN = 20  # steps of the usual length that may pass without one
REMEMBERED = 100  # intervals
ANSWER_S = 3.0  # for all ranks to print their stacks
MOST_STACKS = 200_000  # bytes
STACKS_FILE = "artifacts/stacks.txt"


class Hung(Exception):
    """No step came for too long."""


@dataclass
class Watch:
    """Knows when the run has stepped last. `least`: seconds without a step that are never too long."""

    least: float
    _last: Progress | None = None
    _since: float = inf
    _steps: "deque[float]" = field(default_factory=lambda: deque(maxlen=REMEMBERED))  # seconds that each took

    def see(self, progress: Progress | None, now: float) -> None:
        """The newest progress at this time. Raises Hung."""
        before = self._last
        if progress is None or progress.phase != TRAIN or progress.step >= progress.of:
            self._last, self._since = None, inf
            return
        if before is None or before.step != progress.step:
            if before is not None and progress.step > before.step:
                self._steps.append((now - self._since) / (progress.step - before.step))
            self._last, self._since = progress, now
        if now - self._since > self._limit:
            raise Hung(f"No step for {now - self._since:.0f} s after step {progress.step}{self._usual()}.")

    @property
    def _limit(self) -> float:
        return max(self.least, TIMES_MEDIAN * statistics.median(self._steps) if self._steps else 0.0)

    def _usual(self) -> str:
        return f"; one takes {statistics.median(self._steps):.3g} s" if self._steps else ""


def keep_stacks(folder: Path, mark: Mark, log: Path) -> Artifact | None:
    """Have every rank print where each of its threads stands, and keep that; None when none of them answers."""
    before = log.stat().st_size if log.exists() else 0
    for pid in ranks(folder, mark):
        send(pid, signal.SIGUSR2)
    time.sleep(ANSWER_S)
    with log.open("rb") as file:
        file.seek(before)
        stacks = file.read(MOST_STACKS)
    if not stacks.strip():
        return None
    path = folder / STACKS_FILE
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(stacks)
    digest = hashlib.sha256(stacks).hexdigest()
    return Artifact(
        name="stacks", kind="stacks", media_type="text/plain", path=STACKS_FILE, sha256=digest, bytes=len(stacks)
    )
