"""Starting, stopping and looking at this machine's own service, and the demonstration."""

import shlex
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape

from client import tables
from client.address import home, home_here, service_key
from client.api import Client
from client.errors import ClientError
from client.hints import hint
from client.local import LocalService, Up
from client.terminal import JsonFlag, QuietFlag, answer, notes


def up(
    port: Annotated[int | None, typer.Option(help="Port of the API; 0 is any free one.", min=0, max=65535)] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Start database, broker, api and worker on this machine; what runs is left as it is."""
    if (here := home_here()) is not None:
        notes().print(f"This folder has a service of its own: export CMAC_HOME={shlex.quote(str(here))} leads to it.")
    found = start(LocalService(), port, quiet=quiet or json)
    body = {"url": found.url, "home": str(home()), "started": found.started, "admin_key": found.first_key}
    answer(body, lambda: _welcome(found), as_json=json, ids=[found.url] if quiet else None)


def start(service: LocalService, port: int | None = None, *, quiet: bool = False) -> Up:
    """`up` with a line on what it is doing."""
    if quiet:
        return service.up(port)
    if not notes().is_terminal:
        return service.up(port, lambda text: notes().print(text))
    with notes().status("Starting") as status:
        return service.up(port, lambda text: status.update(text))


def _welcome(found: Up) -> str:
    lines = [f"The service is at [bold]{found.url}[/] (data in {home()})"]
    if found.first_key:
        lines += [
            f"Your admin key, shown this once: [bold]{found.first_key}[/]",
            f"It is kept in {home() / 'admin.key'}; this machine's cmac finds it there.",
        ]
    lines.append(f"Every call is described at {found.url}/docs. Stop the service: {escape(hint('down'))}")
    return "\n".join(lines)


def down(
    jobs: Annotated[
        bool, typer.Option("--jobs", help="Save and stop running jobs too; they go on at the next up.")
    ] = False,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """Stop this machine's service. Running jobs run on alone until the next up; --jobs saves and stops them too."""
    service = LocalService()
    silent = quiet or json
    running = [] if jobs or quiet else _running(service)
    left = service.down(jobs=jobs, say=lambda text: None if silent else notes().print(text))
    if json:
        body = {"stopped": True, "home": str(home()), "jobs": running if left else [], "processes": left}
        answer(body, str, as_json=True)
    if silent:
        return
    notes().print(f"Stopped; data stay in {home()}")
    if left:
        names = f" ({', '.join(running[:6])})" if running else ""
        notes().print(f"[yellow]{len(left)} processes of running jobs{escape(names)} go on alone.[/]")
        notes().print("The next cmac up takes them up again; cmac down --jobs saves and stops them.")


def _running(service: LocalService) -> list[str]:
    """Names of jobs at work, as far as the service can still say."""
    if service.api.pid is None or service.url is None:
        return []
    try:
        with Client(service.url, service_key(), retries=0) as lab:
            jobs = lab.jobs(50, state=["scheduled", "running", "stopping"])
            return [f"{job.name or job.kind} {job.id[:8]}" for job in jobs]
    except ClientError:
        return []  # it cannot say, and is to be stopped; what is left is counted afterwards


def status(json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Show what runs on this machine. Exit code 4 when the service is not ready."""
    found = LocalService().status()
    ready = found.ready.startswith("ready")
    pairs = [
        ("address", found.url if found.api else None),
        ("service", found.ready),
        ("api", f"pid {found.api}" if found.api else "does not run"),
        ("worker", f"pid {found.worker}" if found.worker else "does not run"),
        *((name, "runs" if runs else "does not run") for name, runs in found.embedded.items()),
        ("processes of jobs", found.job_processes or None),
        ("home", home()),
        ("logs", home() / "logs"),
    ]
    answer(found._asdict(), lambda: tables.facts(pairs), as_json=json, ids=[] if quiet else None)
    if not ready:
        if not (json or quiet):
            notes().print("Start it: cmac up")
        raise typer.Exit(4)


BackupFile = Annotated[Path, typer.Argument(metavar="FILE")]


def backup(file: BackupFile, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Write the database (jobs, results, curves, keys) into one file; the service may run. Files are copied apart."""
    LocalService().backup(file, say=lambda text: None if quiet or json else notes().print(text))
    size = file.stat().st_size
    body = {"file": str(file), "bytes": size}
    answer(body, lambda: f"{file} ({size / 1e6:.1f} MB)", as_json=json, ids=[str(file)] if quiet else None)


def restore(file: BackupFile, json: JsonFlag = False, quiet: QuietFlag = False) -> None:
    """Fill an empty database from a backup; the service must be down. What ran then goes on from its checkpoint."""
    LocalService().restore(file, say=lambda text: None if quiet or json else notes().print(text))
    if json:
        answer({"restored": str(file), "home": str(home())}, str, as_json=True)
    elif not quiet:
        notes().print(f"Restored. {escape(hint('up'))} starts the service.")


def demo(
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Real videos instead of the generated corpus.")
    ] = None,
    clips: Annotated[int | None, typer.Option(help="Clips of the generated corpus.", min=40, max=20_000)] = None,
    label: Annotated[str | None, typer.Option(help="With --data: the label column to evaluate.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; default: demo/ in the home.")] = None,
    json: JsonFlag = False,
    quiet: QuietFlag = False,
) -> None:
    """The whole path in minutes: corpus, pack, pretraining, evaluations, table, attention maps to look at."""
    from client.demo import Demo  # only this command needs it

    silent = quiet or json
    found = start(LocalService(), quiet=silent)
    with Client(found.url) as lab:
        shown = Demo(lab, out or home() / "demo", quiet=silent).run(data, clips, label)
        answer(shown.body, lambda: shown.page, as_json=json)
