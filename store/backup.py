"""`python -m store.backup save FILE` and `... restore FILE`: the database as one file, and back (docs/OPERATION.md).

Everything but files is in it: jobs, events, curves, results, keys. Datasets, checkpoints and artifacts lie in the home
and are copied as any folder is.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from sqlalchemy import Engine, inspect, select, update
from sqlalchemy.orm import Session

from store import attempts, database, embedded, migrate
from store.ends import Reason
from store.states import FINAL, AttemptState
from store.tables import Attempt, Job

LEAP = 1000  # epochs that a restored job skips: folders and processes of what ran since the backup bear those numbers


class Refused(Exception):
    """What is in the way of a backup or of its way back, in words."""


def save(file: Path) -> int:
    """Write the whole database as it is at one moment, while the service runs; the file's bytes. Raises Refused."""
    draft = file.with_name(f"{file.name}.part")
    try:
        _run("pg_dump", "--format=custom", "--no-owner", f"--file={draft}", f"--dbname={database.dsn()}")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        draft.chmod(0o600)  # hashes of keys are in it
        draft.replace(file)
    finally:
        draft.unlink(missing_ok=True)
    return file.stat().st_size


def restore(file: Path) -> list[str]:
    """Fill an empty database from a backup, migrate it, and end what was at work then; the migrations applied.

    Jobs that ran at the time of the backup are queued again from their last checkpoint. Raises Refused.
    """
    if not file.is_file():
        raise Refused(f"{file} is no file")
    engine = database.engine()
    if inspect(engine).get_table_names():
        raise Refused(
            "the database is not empty, and nothing is written over; name an empty one in CMAC_DATABASE_URL, or with"
            " the embedded one stop the service (`cmac down`) and move the folder postgres of the home away"
        )
    _run("pg_restore", "--no-owner", "--single-transaction", "--exit-on-error", f"--dbname={database.dsn()}", str(file))
    applied = migrate.upgrade(engine)
    _take_up(engine)
    return applied


def _take_up(engine: Engine) -> None:
    """Whatever ran then is not known to run now, and its numbers may have been given away since."""
    with Session(engine) as session, session.begin():
        live = select(Attempt.id).where(Attempt.state != AttemptState.exited).order_by(Attempt.id)
        for attempt in session.scalars(live).all():
            attempts.give_up(session, attempt, Reason.worker_lost, release=True, detail="The database was restored.")
        session.execute(update(Job).where(Job.state.not_in(FINAL)).values(epoch=Job.epoch + LEAP))


def _run(program: str, *arguments: str) -> None:
    """One of PostgreSQL's own programs. The address goes by argument alone: it is not told when that fails."""
    done = subprocess.run([_program(program), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "detail:" not in line]
        raise Refused((said or [f"{program} failed"])[-1])


def _program(name: str) -> str:
    # The embedded one first: a distribution's is often older than the server, and refuses it.
    try:
        return str(embedded.postgres_program(name))
    except RuntimeError:
        found = shutil.which(name)
    if found is None:
        raise Refused(f"{name} is not here; install PostgreSQL's client programs, as new as the server")
    return found


def main(arguments: list[str] | None = None) -> int:
    """0 when done, 2 with a sentence on what is in the way."""
    parser = argparse.ArgumentParser(prog="python -m store.backup", description=__doc__)
    parser.add_argument("action", choices=["save", "restore"])
    parser.add_argument("file", type=Path)
    asked = parser.parse_args(arguments)
    try:
        if asked.action == "save":
            sys.stdout.write(f"{save(asked.file)} bytes in {asked.file}\n")
        else:
            applied = restore(asked.file)
            sys.stdout.write(f"restored from {asked.file}{', migrated to ' + applied[-1] if applied else ''}\n")
    except Refused as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
