"""Results of several jobs side by side."""

from collections.abc import Mapping, Sequence
from typing import Any

_LABELS = ("modality", "split", "fold", "pool", "selection")


def values_side_by_side(
    results: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str, list[Mapping[str, Any] | None]]]:
    """(name, its labels, the value of each result or None), in the order in which they first come."""
    found: dict[tuple[str, str], dict[int, Mapping[str, Any]]] = {}
    for place, result in enumerate(results):
        for value in result["values"]:
            labels = ", ".join(f"{label} {value[label]}" for label in _LABELS if value.get(label) is not None)
            found.setdefault((value["name"], labels), {})[place] = value
    return [(*key, [values.get(place) for place in range(len(results))]) for key, values in found.items()]
