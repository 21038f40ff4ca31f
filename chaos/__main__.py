"""`make chaos RUNS=200 SEED=1`: randomized faults against a living service; exit 1 unless no invariant is broken.

Each run draws its jobs and its faults from its own seed: SEED, SEED + 1, ... A call that was broken off is taken up
with a later seed, and one run is repeated with RUNS=1 and its seed.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chaos import report
from chaos.people import NOTHING, PACK, TRAINING, insist, patience
from chaos.plants import PLANTS
from chaos.play import SETTLE, Curve, Play, Played
from chaos.schedule import REAL_EVERY, Schedule, draw
from chaos.service import Service
from client.api import Client
from store import database
from store.settings import settings
from store.tables import Metric

# About a seventh of the defaults, and so are the times that follow from it. Much less, and a busy machine starts no
# supervisor within the time that it is given to come up.
LEASE = "1.5/4.5/9/11.5"
NOT_LONG = 100.0  # to settle in, where a guard is missing and nothing need end well


def main() -> int:
    """Run, print a line for each run and a summary; the exit code."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1, help="of the first run")
    parser.add_argument("--planted", action="store_true", help="disable each guard in turn: exit 1 unless all are seen")
    parser.add_argument("--keep", action="store_true", help="leave the service's home behind in any case")
    parser.add_argument("--lease", default=LEASE, help=f"CMAC_LEASE of the service; slower for slow machines ({LEASE})")
    options = parser.parse_args()
    with _service(options.lease, keep=options.keep) as (service, client):
        if options.planted:
            return _planted(service, client)
        return _runs(service, client, range(options.seed, options.seed + options.runs))


def _runs(service: Service, client: Client, seeds: range) -> int:
    real = _undisturbed(client) if any(seed % REAL_EVERY == 0 for seed in seeds) else {}
    done = []
    for seed in seeds:
        done.append(_run(service, client, draw(seed, settings().times.lost), real))
    print(report.summary(done))
    return 1 if any(played.violations for played in done) else 0


def _run(service: Service, client: Client, schedule: Schedule, real: Curve, settle: float = SETTLE) -> Played:
    played = Play(service, client, schedule, real, settle).run()
    print(report.line(played), flush=True)
    for text in played.violations:
        print(f"  {text}", flush=True)
    return played


def _planted(service: Service, client: Client) -> int:
    missed = 0
    for number, plant in enumerate(PLANTS, start=1):
        with plant.planted():
            played = _run(service, client, plant.schedule(-number, settings().times.lost), {}, NOT_LONG)
        print(f"planted, {plant.name}: {len(played.violations)} violations", flush=True)
        missed += not played.violations
    print(f"missed: {missed}")
    return 1 if missed else 0


def _undisturbed(client: Client) -> Curve:
    """The curve of the real core's training when nothing happens to it."""
    insist(lambda: client.submit(PACK)).wait(patience())
    job = insist(lambda: client.submit(TRAINING | {"name": "undisturbed"}))
    job.wait(2 * patience())
    with database.sessions() as session:
        rows = session.query(Metric).where(Metric.job_id == job.id, Metric.name.like("loss%"))
        return {(row.name, row.step): float(row.value or 0) for row in rows}


@contextmanager
def _service(lease: str, *, keep: bool) -> Iterator[tuple[Service, Client]]:
    """A service of its own; its home stays when something was found."""
    home = Path(tempfile.mkdtemp(prefix="cmac-chaos-"))
    home.chmod(0o755)  # root's PostgreSQL is another user
    service = Service(home, lease)
    try:
        service.start()
        with Client(service.url, service.key, retries=0) as client:
            service.register_dataset(NOTHING)
            yield service, client
    finally:
        service.stop()
        if keep or (home / "evidence").exists():
            print(f"the service's home is kept: {home}", file=sys.stderr)
        else:
            shutil.rmtree(home, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
