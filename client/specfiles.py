"""Spec files of the command line: JSON, changed by --set, naming each other by "$name"."""

import json
import sys
from collections.abc import Iterable, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from client.errors import BadInput

Spec = dict[str, Any]
STDIN = "-"


def read_specs(files: Iterable[str], settings: Iterable[str] = ()) -> list[Spec]:
    """The specs of all files (an object, or a list of them; `-` is standard input), --set applied to each.

    Raises BadInput naming the file, line and column.
    """
    specs = [spec for file in files for spec in _read(file)]
    if not specs:
        raise BadInput("there is no spec in these files")
    changes = [setting(text) for text in settings]
    for spec in specs:
        for path, value in changes:
            put(spec, path, value)
    return specs


def in_order(specs: list[Spec]) -> list[Spec]:
    """The specs, each behind those it names as {"job": "$name"}. Raises BadInput for a ring or an unknown name."""
    names = [str(spec.get("name") or "") for spec in specs]
    needs = {i: {_index(name, names) for name in references(spec)} for i, spec in enumerate(specs)}
    try:
        return [specs[i] for i in TopologicalSorter(needs).static_order()]
    except CycleError as error:
        ring = " -> ".join(names[i] for i in error.args[1])
        raise BadInput(f"these specs wait for each other in a ring: {ring}") from error


def references(value: Any) -> list[str]:
    """Names behind {"job": "$name"}, wherever they stand in a spec."""
    if isinstance(value, Mapping):
        own = value.get("job")
        found = [own[1:]] if isinstance(own, str) and own.startswith("$") else []
        return found + [name for inner in value.values() for name in references(inner)]
    if isinstance(value, list):
        return [name for inner in value for name in references(inner)]
    return []


def resolved(value: Any, ids: Mapping[str, str]) -> Any:
    """The value with every {"job": "$name"} replaced by that job's id."""
    if isinstance(value, Mapping):
        return {k: ids[v[1:]] if _is_reference(k, v) else resolved(v, ids) for k, v in value.items()}
    return [resolved(inner, ids) for inner in value] if isinstance(value, list) else value


def put(spec: Spec, path: str, value: Any) -> None:
    """Set `a.b.c` in nested objects. Raises BadInput where the path goes through something else."""
    *parents, last = path.split(".")
    node: Any = spec
    for part in parents:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            raise BadInput(f"--set {path}: {part} is {json.dumps(node)}, not an object with fields")
    node[last] = value


def setting(text: str) -> tuple[str, Any]:
    """`a.b=VALUE` as path and value; a bare word is a string. Raises BadInput."""
    path, equals, raw = text.partition("=")
    if not equals or not path or "" in path.split("."):
        raise BadInput(f"--set {text}: write it as field=value or outer.inner=value")
    try:
        return path, json.loads(raw)
    except ValueError:
        return path, raw  # a bare word is a string


def _is_reference(key: str, value: Any) -> bool:
    return key == "job" and isinstance(value, str) and value.startswith("$")


def _index(name: str, names: list[str]) -> int:
    if names.count(name) == 1:
        return names.index(name)
    if name in names:
        raise BadInput(f"two specs have the name {name!r}, so $" + name + " is not clear")
    raise BadInput(f"no spec of these files has the name {name!r}; names: {', '.join(filter(None, names)) or 'none'}")


def _read(file: str) -> list[Spec]:
    try:
        text = sys.stdin.read() if file == STDIN else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise BadInput(f"{file}: {reason}") from error
    where = "standard input" if file == STDIN else file
    try:
        body = json.loads(text)
    except ValueError as error:
        hint = "; specs are JSON, not YAML" if file.endswith((".yaml", ".yml")) else ""
        raise BadInput(f"{where}: not JSON: {error}{hint}") from error
    specs = body if isinstance(body, list) else [body]
    if not all(isinstance(spec, dict) for spec in specs):
        raise BadInput(f'{where}: a spec is an object like {{"kind": "pretrain", ...}}')
    return specs
