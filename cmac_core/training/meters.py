"""Sums that stay on the device: training never waits for a number until it is reported."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from cmac_core.distributed import mean_over_ranks


class Meters:
    """Means of named values over steps. Steps that were skipped count for nothing."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.names: tuple[str, ...] = ()
        self._sums = torch.zeros(0, device=device, dtype=torch.float64)
        self._steps = torch.zeros((), device=device, dtype=torch.float64)

    def add(self, values: Mapping[str, Tensor], good: Tensor) -> None:
        """Add one step's scalars; `good` (a bool tensor) says whether the step counts. Nothing is read."""
        if tuple(values) != self.names:
            assert not self.names, f"other values than before: {set(values) ^ set(self.names)}"
            self.names = tuple(values)
            self._sums = torch.zeros(len(self.names), device=self._device, dtype=torch.float64)
        row = torch.stack([value.detach().to(torch.float64) for value in values.values()])
        self._sums += torch.where(good, row, 0.0)
        self._steps += good

    def read(self) -> dict[str, float]:
        """The means over the steps since the last reset and over ranks; NaN when every step was skipped."""
        means = mean_over_ranks(self._sums / self._steps)
        return dict(zip(self.names, means.tolist(), strict=True))

    def reset(self) -> None:
        """Begin anew."""
        self._sums.zero_()
        self._steps.zero_()

    def state(self) -> dict[str, Any]:
        """This rank's sums, for a checkpoint."""
        return {"names": list(self.names), "sums": self._sums.cpu().clone(), "steps": self._steps.cpu().clone()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self.names = tuple(state["names"])
        self._sums, self._steps = state["sums"].to(self._device).clone(), state["steps"].to(self._device).clone()


class History:
    """The course of the reported values for the plot at the end: at most `limit` points, thinned evenly."""

    def __init__(self, limit: int = 1000) -> None:
        self.limit = limit
        self.points: list[tuple[int, dict[str, float]]] = []
        self._every, self._seen = 1, 0

    def add(self, step: int, values: dict[str, float]) -> None:
        """Take a point, or leave it out when points are thinned."""
        if self._seen % self._every == 0:
            self.points.append((step, values))
        self._seen += 1
        if len(self.points) >= self.limit:
            self.points, self._every = self.points[::2], self._every * 2

    def state(self) -> dict[str, Any]:
        """Plain containers, for a checkpoint."""
        return {"points": [[step, values] for step, values in self.points], "every": self._every, "seen": self._seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from `state()`."""
        self.points = [(step, values) for step, values in state["points"]]
        self._every, self._seen = state["every"], state["seen"]
