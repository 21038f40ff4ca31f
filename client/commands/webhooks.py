"""Receivers that are told of events."""

from typing import Annotated

import typer
from rich.console import Group

from client import tables
from client.api import Client
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer, notes

webhook = typer.Typer(help="Receivers that are told of events, signed.", no_args_is_help=True)

WebhookArgument = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id or the unique start of it.")]
SHOWN = 20  # deliveries


@webhook.command()
def add(
    receiver: Annotated[str, typer.Argument(metavar="URL", help="Where to POST to: https://…")],
    event: Annotated[
        list[str] | None, typer.Option(help="job.failed, experiment.finished, …; repeat. Default: all ends.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Only this project's; default: what your key sees.")] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Have a URL told of events. The secret that signs them is shown once."""
    with Client(url) as lab:
        row = lab.add_webhook(receiver, event or (), project)
    pairs = [(name, row[name]) for name in ("id", "url", "project", "events", "secret")]
    answer(row, lambda: tables.facts(pairs), as_json=json, ids=[str(row["id"])] if quiet else None)
    if not (json or quiet):
        notes().print(f"The secret is shown only now. Try it: cmac webhook test {row['id'][:8]}", style="yellow")


@webhook.command("list")
def list_webhooks(json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """List webhooks and whether anything arrives."""
    with Client(url) as lab:
        rows = list(lab.webhooks())
    ids = [str(row["id"]) for row in rows] if quiet else None
    answer(rows, lambda: tables.webhooks_table(rows), as_json=json, ids=ids)


@webhook.command()
def show(webhook: WebhookArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Show a webhook and its last deliveries, each with what the receiver answered."""
    with Client(url) as lab:
        row = lab.webhook(webhook)
        sent = list(lab.deliveries(row["id"], SHOWN))
    names = ("id", "url", "state", "error", "failing_since", "disabled_at", "project", "owner", "events")
    pairs = [(name.replace("_", " "), row[name]) for name in names]
    answer(
        row | {"deliveries": sent},
        lambda: Group(tables.facts(pairs), "", tables.deliveries_table(sent)),
        as_json=json,
    )


@webhook.command()
def deliveries(
    webhook: WebhookArgument,
    limit: Annotated[int, typer.Option(help="How many, newest first.", min=1)] = SHOWN,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """List what a webhook was sent in the last 30 days, and what the receiver answered."""
    with Client(url) as lab:
        rows = list(lab.deliveries(lab.resolve("/webhooks", webhook), limit))
    answer(rows, lambda: tables.deliveries_table(rows), as_json=json)


@webhook.command()
def redeliver(
    webhook: WebhookArgument,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id or the unique start of it.")],
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Send a delivery once more, under its old id."""
    with Client(url) as lab:
        whole = lab.resolve("/webhooks", webhook)
        row = lab.redeliver(whole, lab.resolve(f"/webhooks/{whole}/deliveries", delivery))
    answer(row, lambda: tables.deliveries_table([row]), as_json=json)


@webhook.command("test")
def ping(webhook: WebhookArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Send a test and wait for the answer; exits with 1 unless it arrives. It enables a disabled webhook again."""
    with Client(url) as lab:
        sent = lab.ping_webhook(webhook)
    said = {
        "arrived": f"arrived: it answered {sent['status']}",
        "given_up": f"did not arrive: {sent['error']}",
        "waiting": "nobody has sent it yet: does a worker run? cmac status",
    }[sent["state"]]
    answer(sent, lambda: said, as_json=json)
    if sent["state"] != "arrived":
        raise typer.Exit(1)


@webhook.command()
def remove(webhook: WebhookArgument, json: JsonFlag = False, url: UrlOption = None) -> None:
    """Tell it nothing any more."""
    with Client(url) as lab:
        whole = lab.remove_webhook(webhook)
    answer({"id": whole, "removed": True}, lambda: f"removed {whole}", as_json=json)
