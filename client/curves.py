"""Curves as the service gives them."""

from collections.abc import Mapping, Sequence
from typing import Any

Points = list[tuple[float, float]]

_SHOWN_LOSSES = 3
_TOTAL = "total"
_PREFIX = "loss/"


def curves(body: Mapping[str, Any]) -> dict[str, Points]:
    """Name to (x, y) of an answer of GET /jobs/{id}/metrics; points that are not finite are left out."""
    rows: Sequence[Mapping[str, Any]] = body.get("items") or body.get("series") or []
    found = {}
    for row in rows:
        points = [(float(x), float(y)) for x, y in zip(row["x"], row["y"], strict=True) if y is not None]
        if points:
            found[str(row["name"])] = points
    return found


def latest_losses(body: Mapping[str, Any]) -> str:
    """The last values of the parts of the loss in a few words, the total first."""
    values = {name.removeprefix(_PREFIX): points[-1][1] for name, points in curves(body).items() if is_loss(name)}
    names = sorted(values, key=lambda name: (name != _TOTAL, name))[:_SHOWN_LOSSES]
    return "  ".join(f"{name} {values[name]:.4g}" for name in names)


def is_loss(name: str) -> bool:
    """Whether a curve is a part of the loss."""
    return name.startswith(_PREFIX)
