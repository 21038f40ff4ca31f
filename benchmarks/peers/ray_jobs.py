"""From a submission to the first step: our service against Ray's job submission, which starts the same `torchrun`."""

import shlex
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from benchmarks.full_lab import wait_for
from benchmarks.own_service import OwnService, own_service
from benchmarks.peers import PYTHON
from benchmarks.rounds import Comparison, comparison
from benchmarks.start_up import by_hand, packed, served, stepped, until
from store import embedded

OVER = ("STOPPED", "SUCCEEDED", "FAILED")


def start(rounds: int) -> Comparison:
    """Both up and idle before; one training at a time."""
    with own_service(cpu_slots="2") as service, _ray() as ray:
        dataset = packed(service)
        times = [(served(service), _submitted(ray, service, dataset)) for _ in range(rounds + 1)][1:]
    return comparison("job start, Ray", times, work=1, unit="starts/s")


def _submitted(ray: httpx2.Client, service: OwnService, dataset: Path) -> float:
    """Seconds from POST to the first step."""
    with by_hand(service, dataset) as (command, run):
        began = time.monotonic()
        job = ray.post("/api/jobs/", json={"entrypoint": shlex.join(command)}).raise_for_status().json()["job_id"]
        until(lambda: stepped(run))
        seconds = time.monotonic() - began
        ray.post(f"/api/jobs/{job}/stop").raise_for_status()
        until(lambda: ray.get(f"/api/jobs/{job}").raise_for_status().json()["status"] in OVER)
    return seconds


@contextmanager
def _ray() -> Iterator[httpx2.Client]:
    """A head node of its own with two CPUs."""
    port, dashboard = (embedded.free_port("127.0.0.1") for _ in range(2))
    with tempfile.TemporaryDirectory(prefix="r-", dir="/tmp") as folder:  # short: sockets have 107 characters
        command = [str(PYTHON.with_name("ray")), "start", "--head", "--block", "--num-cpus=2", f"--port={port}"]
        command += [f"--dashboard-port={dashboard}", f"--temp-dir={folder}", "--disable-usage-stats"]
        out = subprocess.DEVNULL
        with subprocess.Popen(command, cwd=folder, stdout=out, stderr=out) as head:
            try:
                with httpx2.Client(base_url=f"http://127.0.0.1:{dashboard}", timeout=120, trust_env=False) as http:
                    wait_for(http, "/api/version")
                    yield http
            finally:
                head.terminate()
