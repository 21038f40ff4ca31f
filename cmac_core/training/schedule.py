"""The learning rate of each step: a linear warm-up to the peak, then constant, half a cosine or steps (A16, A17)."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Schedule:
    """Learning rate by step, from 0. Step `warmup_steps` - 1 is the first at the peak."""

    peak: float
    warmup_steps: int
    total_steps: int
    shape: Literal["constant", "cosine", "step"] = "constant"
    start: float = 0.0  # where the warm-up leads from; the first step is one step's share above it
    milestones: tuple[int, ...] = ()  # steps at which shape `step` goes down by gamma
    gamma: float = 0.1

    def at(self, step: int) -> float:
        """The learning rate with which step `step` is taken."""
        if step < self.warmup_steps:
            return self.start + (self.peak - self.start) * (step + 1) / self.warmup_steps
        if self.shape == "constant":
            return self.peak
        if self.shape == "step":
            return self.peak * self.gamma ** sum(step >= milestone for milestone in self.milestones)
        done = (step - self.warmup_steps) / max(self.total_steps - self.warmup_steps, 1)
        return self.peak * (1 + math.cos(math.pi * done)) / 2
