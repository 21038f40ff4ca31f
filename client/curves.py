"""Curves as the service gives them."""

from collections.abc import Mapping, Sequence
from typing import Any

Points = list[tuple[float, float]]

_TERMS = ("loss", "contrast", "attention")
LOSSES = [*_TERMS, *(f"{term}/{letter}" for term in _TERMS for letter in "va")]


def curves(body: Mapping[str, Any]) -> dict[str, Points]:
    """Name to (x, y) of an answer of GET /jobs/{id}/metrics; points that are not finite are left out."""
    rows: Sequence[Mapping[str, Any]] = body["series"]
    found = {}
    for row in rows:
        points = [(float(x), float(y)) for x, y in zip(row["x"], row["y"], strict=True) if y is not None]
        if points:
            found[str(row["name"])] = points
    return found


def latest_losses(body: Mapping[str, Any]) -> str:
    """The last loss in a few words: `loss 12.3  contrast 5.1/5.3  attention 2.1/0.4` (video/audio)."""
    last = {name: points[-1][1] for name, points in curves(body).items()}
    parts = []
    for term in _TERMS:
        values = [last[name] for name in (term, f"{term}/v", f"{term}/a") if name in last]
        if values:
            parts.append(f"{term} {'/'.join(f'{value:.3g}' for value in values)}")
    return "  ".join(parts)
