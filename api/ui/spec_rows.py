"""A stored spec as people read it: what differs from the defaults, who made it so, and how short it can be said."""

from typing import Any, NamedTuple, get_args

from pydantic import ValidationError

from cmac_core.specs import JOB_SPEC, JobSpec
from cmac_core.specs.differences import flat
from cmac_core.specs.jobs import Job

_DIALS = ("preset", "scale")
SPECS: dict[str, type[Job]] = {kind.model_fields["kind"].default: kind for kind in get_args(get_args(JobSpec)[0])}


class SpecRow(NamedTuple):
    """One field of a spec."""

    name: str  # dotted
    value: Any
    usual: Any  # the default, which is the paper's
    by: str  # who made it another: "submitted", "preset" for both dials, or nobody


class Told(NamedTuple):
    """A spec in both forms."""

    rows: list[SpecRow]
    short: dict[str, Any]  # what has to be submitted to get it


def told(spec: dict[str, Any]) -> Told:
    """A stored spec, which may be of older or newer code: what cannot be compared then counts as submitted."""
    required = {name: spec[name] for name in _required(spec)}
    usual = _expanded(required | {"preset": "paper", "scale": "paper"})
    dialled = _expanded(required | {name: spec[name] for name in _DIALS if name in spec})
    flat_usual, flat_dialled = flat(usual), flat(dialled)
    rows = []
    for name, value in flat(spec).items():
        same = name in flat_usual and flat_usual[name] == value
        by_dial = name in flat_dialled and flat_dialled[name] == value
        given = name in required or name.split(".")[0] in ("kind", *required)
        by = "" if same and not given else "submitted" if given or not by_dial or name in _DIALS else "preset"
        rows.append(SpecRow(name, value, flat_usual.get(name), by))
    plain = _expanded(required)
    dials = {name: spec[name] for name in _DIALS if spec.get(name) != plain.get(name)}
    return Told(rows, required | dials | _beyond(spec, dialled, {*required, *_DIALS}))


def _required(spec: dict[str, Any]) -> list[str]:
    """Fields that a spec of this kind cannot do without, kind among them."""
    kind = SPECS.get(spec.get("kind", ""))
    needed = [name for name, field in kind.model_fields.items() if field.is_required()] if kind else []
    return [name for name in ("kind", *needed) if name in spec]


def _expanded(body: dict[str, Any]) -> dict[str, Any]:
    """As it would be stored; nothing where today's code does not know it."""
    try:
        made: dict[str, Any] = JOB_SPEC.validate_python(body).model_dump(mode="json")
    except ValidationError:
        return {}
    return made


def _beyond(spec: dict[str, Any], below: dict[str, Any], said: set[str]) -> dict[str, Any]:
    """What of `spec` is other than `below`, in nested objects too."""
    found: dict[str, Any] = {}
    for name, value in spec.items():
        if name in said or (name in below and below[name] == value):
            continue
        under = below.get(name)
        deeper = isinstance(value, dict) and isinstance(under, dict) and value.keys() == under.keys()
        found[name] = _beyond(value, under, set()) if deeper and under is not None else value
    return found
