"""Machines and devices taken out of the queue and put back."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.markup import escape

from client import tables
from client.api import Client
from client.completion import complete_nodes
from client.errors import BadInput
from client.terminal import JsonFlag, UrlOption, answer

node = typer.Typer(help="Take machines and their devices out of the queue, and put them back.", no_args_is_help=True)

NodeArgument = Annotated[
    str,
    typer.Argument(metavar="NODE", help="Its name, or the unique start of its id.", autocompletion=complete_nodes),
]
Reason = Annotated[str, typer.Option(help="Shown to whoever wonders.")]
DeviceOption = Annotated[int | None, typer.Option(help="Only the device of this index.", min=0)]


@node.command()
def show(node: NodeArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Show a machine, its devices and what runs on them."""
    with Client(url) as lab:
        row = lab.node(node)
    answer(row, lambda: _table(row), as_json=json)


@node.command()
def cordon(
    node: NodeArgument,
    device: DeviceOption = None,
    reason: Reason = "",
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Give it nothing new; what runs there runs on."""
    _set(node, "cordon", device, reason, json=json, url=url)


@node.command()
def drain(node: NodeArgument, reason: Reason = "", json: JsonFlag = False, url: UrlOption = None) -> None:
    """Give it nothing new, and have what runs there save and go on elsewhere."""
    _set(node, "drain", None, reason, json=json, url=url)


@node.command()
def ready(node: NodeArgument, device: DeviceOption = None, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Offer it again."""
    _set(node, "ready", device, "", json=json, url=url)


@node.command()
def label(
    node: NodeArgument,
    labels: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...", help="KEY= takes one away.")],
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Say what a machine is, for jobs that ask for it (resources.node_labels)."""
    wanted: dict[str, str | None] = {}
    for text in labels:
        key, given, value = text.partition("=")
        if not (key and given):
            raise BadInput(f"{text!r} is not KEY=VALUE")
        wanted[key] = value or None
    with Client(url) as lab:
        row = lab.label_node(node, wanted)
    answer(row, lambda: _table(row), as_json=json)


def _set(node: str, verb: str, device: int | None, reason: str, *, json: bool, url: str | None) -> None:
    with Client(url) as lab:
        if device is None:
            row = lab.set_node(node, verb, reason)
        else:
            row = lab.set_device(_device(lab.node(node), device), verb)
    answer(row, lambda: _table(row), as_json=json)


def _device(row: Mapping[str, Any], index: int) -> str:
    """The id of a machine's GPU of an index, or of its CPU slot where it has no GPU. Raises BadInput."""
    kind = "gpu" if any(one["kind"] == "gpu" for one in row["devices"]) else "cpu"
    found = {one["index"]: str(one["id"]) for one in row["devices"] if one["kind"] == kind}
    if index not in found:
        raise BadInput(f"{row['name']} has no {kind} {index}; it has {', '.join(map(str, sorted(found))) or 'none'}")
    return found[index]


def _table(row: Mapping[str, Any]) -> RenderableType:
    title = f"{row['name']}: {row['state']}" + (f" ({row['reason']})" if row.get("reason") else "")
    title += "".join(f", {key}={value}" for key, value in sorted((row.get("labels") or {}).items()))
    made = tables.table("device", "model", "state", "runs", title=escape(title))
    for one in row["devices"]:
        runs = str(one["lease"]["job"])[:8] if one["lease"] else ""
        name = f"{one['kind']} {one['index']}"
        made.add_row(name, str(one["model"] or ""), tables.state_text(str(one["state"])), runs)
    return made
