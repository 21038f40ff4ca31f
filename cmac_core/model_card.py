"""A model card in Markdown: on what encoders were trained, how, by which code, and what they are worth. No torch."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Facts = Mapping[str, Any]

_USE = """```python
from safetensors.torch import load_file

tensors = load_file("encoders.safetensors")
video = {name.removeprefix("video."): value for name, value in tensors.items() if name.startswith("video.")}
```

The names behind `video.` are those of torchvision's `r2plus1d_18` and the names behind `audio.` those of its `ResNet`
with one input channel, both without `fc`. The file's metadata (`cmac_lab`) say what the networks were shown: size,
front end of the sound, and the numbers by which frames and pictures of sound are normalised."""


@dataclass(frozen=True)
class Score:
    """One number of an evaluation of these encoders."""

    evaluation: str  # kind and dataset
    name: str  # with its labels
    value: str  # with unit and interval
    n: int
    random_init: str = ""
    chance: str = ""
    job: str = ""


@dataclass(frozen=True)
class ModelCard:
    """What the card says, section by section; empty facts are left out."""

    title: str
    about: Facts
    data: Facts
    settings: Facts
    code: Facts
    changed: Mapping[str, tuple[Any, Any]] = field(default_factory=dict)  # field -> (default, value)
    scores: Sequence[Score] = ()

    def markdown(self) -> str:
        """The whole card."""
        parts = [f"# {_line(self.title)}", _listed(self.about), "## Data", _listed(self.data), "## Settings"]
        parts += [_listed(self.settings), *self._changed(), "## Results", self._scores()]
        parts += ["## Code", _listed(self.code), "## Use", _USE]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _changed(self) -> list[str]:
        if not self.changed:
            return []
        rows = [f"| `{name}` | {_cell(usual)} | {_cell(now)} |" for name, (usual, now) in sorted(self.changed.items())]
        head = "What differs from the defaults, which are the paper's:"
        return [head, "\n".join(["| field | default | here |", "|---|---|---|", *rows])]

    def _scores(self) -> str:
        if not self.scores:
            return "No evaluation of these encoders has a result yet."
        rows = [
            f"| {_line(s.evaluation)} | {_line(s.name)} | {s.value} | {s.n} | {s.random_init} | {s.chance} | {s.job} |"
            for s in self.scores
        ]
        head = "| evaluation | value | here (95 % interval) | n | random init | chance | job |"
        return "\n".join([head, "|---|---|---|---|---|---|---|", *rows])


def _listed(facts: Facts) -> str:
    shown = {name: value for name, value in facts.items() if value not in (None, "", [], {})}
    return "\n".join(f"- {name}: {_cell(value)}" for name, value in shown.items())


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return _line(value)
    if isinstance(value, int | float):
        return json.dumps(value)
    return f"`{json.dumps(value, sort_keys=True)}`".replace("|", "\\|")


def _line(text: str) -> str:
    """Text of a user, which must not become markup."""
    flat = " ".join(text.split())
    for sign in "\\`*|<>[]":
        flat = flat.replace(sign, f"\\{sign}")
    return flat
