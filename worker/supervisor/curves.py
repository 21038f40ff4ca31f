"""The machine's own curves (sys/*), beside those of the run."""

import time
from dataclasses import dataclass
from math import inf
from pathlib import Path

from cmac_core.events import Metrics
from worker import inventory


@dataclass
class Curves:
    """Use of the machine, every `every` seconds, at the step that the run has reached.

    Steps are the curves' common axis. A sample at a step that has one already says nothing new about that step.
    """

    folder: Path
    uuids: frozenset[str]
    every: float
    _sampled: float = -inf
    _step: int = -1

    def sample(self, step: int) -> list[Metrics]:
        """The values now, when they are due."""
        now = time.monotonic()
        if now - self._sampled < self.every or step <= self._step:
            return []
        self._sampled, self._step = now, step
        return [Metrics(step=step, values=inventory.machine(self.folder, self.uuids))]
