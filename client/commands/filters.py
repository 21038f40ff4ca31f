"""Which jobs: the options that lists of jobs and of values share (API 6)."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from client.completion import complete_datasets, complete_kinds, complete_states
from client.errors import BadInput

States = Annotated[
    list[str] | None,
    typer.Option(help="queued, running, succeeded, ... (may be repeated)", autocompletion=complete_states),
]
Kinds = Annotated[
    list[str] | None, typer.Option(help="pack, pretrain, retrieval, probe, ...", autocompletion=complete_kinds)
]
Labels = Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE")]
Name = Annotated[str | None, typer.Option(help="Names that begin like this.")]
Owners = Annotated[list[str] | None, typer.Option(help="Whose (may be repeated).")]
Projects = Annotated[list[str] | None, typer.Option(help="Of these projects (may be repeated).")]
Datasets = Annotated[
    list[str] | None, typer.Option(help="NAME or NAME@VERSION that they read.", autocompletion=complete_datasets)
]


def filters(labels: Sequence[str] | None, **given: Any) -> dict[str, Any]:
    """Parameters of a list, from options; what was not given is left out. Raises BadInput."""
    found: dict[str, Any] = {name: value for name, value in given.items() if value}
    for text in labels or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise BadInput(f"--label {text}: write it as key=value")
        found.setdefault(f"label.{key}", []).append(value)
    return found
