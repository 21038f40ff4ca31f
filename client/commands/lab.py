"""Looking after the lab: machines, queue, keys."""

from typing import Annotated

import typer

from client import tables
from client.api import Client
from client.terminal import JsonFlag, QuietFlag, UrlOption, answer, notes

key = typer.Typer(help="API keys.", no_args_is_help=True)


def nodes(json: JsonFlag = False, quiet: QuietFlag = False, url: UrlOption = None) -> None:
    """List machines and their devices."""
    with Client(url) as lab:
        rows = list(lab.nodes())
    made = tables.table("node", "state", ("cores", "right"), "devices", "last heard")
    for row in rows:
        devices = row.get("devices") or row.get("gpus") or []
        kinds = sorted({str(device.get("model") or device.get("kind") or "device") for device in devices})
        busy = sum(bool(device.get("lease") or device.get("job")) for device in devices)
        heard = tables.age(row.get("heartbeat_at"))
        text = f"{len(devices)} {', '.join(kinds)}, {busy} busy" if devices else ""
        made.add_row(str(row["name"]), tables.state_text(str(row["state"])), str(row.get("cpus") or ""), text, heard)
    ids = [str(row["id"]) for row in rows] if quiet else None
    answer(rows, lambda: made if rows else "no machine has a worker yet", as_json=json, ids=ids)


def queue(
    usage: Annotated[bool, typer.Option("--usage", help="Who has used how much of late instead.")] = False,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Show what waits, in the order in which it will start, and why it waits."""
    with Client(url) as lab:
        if usage:
            shares = list(lab.usage())
            answer(shares, lambda: tables.usage_table(shares) if shares else "nobody has used anything", as_json=json)
            return
        rows = list(lab.queue())
    answer({"items": rows}, lambda: tables.jobs_table(rows) if rows else "nothing waits", as_json=json)


@key.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="What or whom it is for.")],
    role: Annotated[str, typer.Option(help="viewer, submitter, operator or admin.")] = "submitter",
    user: Annotated[str | None, typer.Option(help="Whose key; default: your own.")] = None,
    project: Annotated[
        str | None, typer.Option(help="For this project alone; default: what your own key sees.")
    ] = None,
    days: Annotated[int | None, typer.Option(help="Days until it expires; default: never.", min=1)] = None,
    scope: Annotated[
        list[str] | None,
        typer.Option(help="Limit it to read, submit, operate or admin (may be repeated); default: all of the role's."),
    ] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Make an API key. Its secret is shown once."""
    more = {"days": days, "user": user, "project": project, "scopes": scope}
    body = {"name": name, "role": role} | {key: value for key, value in more.items() if value}
    with Client(url) as lab:
        row = lab.create_key(**body)
    secret = str(row["key"])
    answer(row, lambda: secret, as_json=json, ids=[secret] if quiet else None)
    if not (json or quiet):
        notes().print("This is shown only now. Use it as CMAC_API_KEY.", style="yellow")


@key.command("list")
def list_keys(json: JsonFlag = False, url: UrlOption = None) -> None:
    """List API keys, without their secrets."""
    with Client(url) as lab:
        rows = list(lab.keys())
    made = tables.table("id", "name", "user", "role", "scopes", ("last used", "right"), "state")
    for row in rows:
        state = "revoked" if row.get("revoked_at") else f"until {row['expires_at']}" if row.get("expires_at") else "ok"
        used = tables.age(row.get("last_used_at"))
        scopes = ", ".join(row.get("scopes") or ["all"])
        made.add_row(str(row["id"])[:8], str(row["name"]), str(row["user"]), str(row["role"]), scopes, used, state)
    answer(rows, lambda: made, as_json=json)


@key.command()
def rotate(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its name, its id or the unique start of that.")],
    grace_hours: Annotated[float, typer.Option(help="How long the old one still opens.", min=0, max=168)] = 24,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
    url: UrlOption = None,
) -> None:
    """Make a new key in the place of one. Its secret is shown once."""
    with Client(url) as lab:
        row = lab.rotate_key(key, grace_hours)
    secret = str(row["key"])
    answer(row, lambda: secret, as_json=json, ids=[secret] if quiet else None)
    if not (json or quiet):
        where = "CMAC_API_KEY, or admin.key in CMAC_HOME"
        notes().print(f"This is shown only now. The old key opens for {grace_hours:g} h more; replace it ({where}).")


def audit(
    user: Annotated[str | None, typer.Option(help="Only what this user wrote.")] = None,
    action: Annotated[str | None, typer.Option(help="Its beginning: job., key.rotate.")] = None,
    target: Annotated[str | None, typer.Option(help="A whole id, or a name.")] = None,
    since: Annotated[str | None, typer.Option(help="RFC 3339: 2026-11-01T00:00:00Z.")] = None,
    until: Annotated[str | None, typer.Option(help="RFC 3339, as --since.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", help="Rows at most.", min=1)] = 50,
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Show who wrote what, newest first (operators)."""
    given = {"user": user, "action": action, "target": target, "since": since, "until": until}
    with Client(url) as lab:
        rows = list(lab.audit(limit, **{name: value for name, value in given.items() if value is not None}))
    columns = ("at", "user", "action", "target", "after")
    answer(rows, lambda: tables.rows_table(rows, *columns), as_json=json)


@key.command()
def revoke(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Its id or the unique start of it.")],
    json: JsonFlag = False,
    url: UrlOption = None,
) -> None:
    """Make a key open nothing from now on."""
    with Client(url) as lab:
        whole = lab.resolve("/api-keys", key)
        lab.revoke_key(whole)
    answer({"id": whole, "revoked": True}, lambda: f"revoked {whole}", as_json=json)
