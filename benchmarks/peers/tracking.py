"""Runs, metrics and lists against MLflow's server: both over HTTP on one kept connection, one server process each.

Both hold 1,000 runs; what is asked for in turn is one more, one of them, the newest 100, a curve of 1,000 points, and
100 runs that differ in their seed: one request here, 100 there, where a run is made by itself. The client is a thin
one, so that the servers are what is compared.
"""

import itertools
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlencode

import httpx2

from benchmarks.full_lab import EVALUATION, full_lab, wait_for
from benchmarks.peers import PYTHON
from benchmarks.rounds import Comparison, compare
from store import embedded

RUNS, LISTED, POINTS, GRID = 1000, 100, 1000, 100
API = "/api/2.0/mlflow"
CALLS = 5  # in a round: one takes a few milliseconds


def measure(rounds: int) -> Iterator[Comparison]:
    """A row for each kind of request."""
    with full_lab() as lab, lab.served() as api, _mlflow() as mlflow:
        ours, theirs = _Thin(api), _Thin(mlflow)
        lab.finish(RUNS)
        job = lab.measure(10 * POINTS, POINTS)
        experiment, run = _fill(theirs)
        number = itertools.count()

        def create() -> Any:
            return ours.post("/jobs", {**EVALUATION, "name": f"run-{next(number)}"})

        def create_there() -> Any:
            asked = {"experiment_id": experiment, "run_name": f"run-{next(number)}", "start_time": _now()}
            return theirs.post(f"{API}/runs/create", asked)

        def read() -> Any:
            return ours.get(f"/jobs/{job}")

        def read_there() -> Any:
            return theirs.get(f"{API}/runs/get", run_id=run)

        def listed() -> Any:
            return ours.get("/jobs", limit=LISTED)["items"]

        def listed_there() -> Any:
            asked = {"experiment_ids": [experiment], "max_results": LISTED}
            return theirs.post(f"{API}/runs/search", asked)["runs"]

        def curve() -> Any:
            return ours.get(f"/jobs/{job}/metrics", names="loss/1", points=POINTS)["series"][0]

        def curve_there() -> Any:
            asked = {"run_id": run, "metric_key": "loss", "max_results": POINTS}
            return theirs.get(f"{API}/metrics/get-history", **asked)["metrics"]

        def grid() -> Any:
            asked = {"kind": "experiment", "name": f"grid-{next(number)}", "base": EVALUATION, "seeds": [*range(GRID)]}
            return ours.post("/jobs", asked)

        def grid_there() -> Any:
            return [create_there() for _ in range(GRID)]

        assert read()["id"] == str(job)
        assert read_there()["run"]["info"]["run_id"] == run
        assert len(listed()) == len(listed_there()) == LISTED
        assert len(curve()["y"]) == len(curve_there()) == POINTS
        for name, own, other in (
            ("run creation, MLflow", create, create_there),
            ("one run read, MLflow", read, read_there),
            ("100 of 1,000 runs listed, MLflow", listed, listed_there),
            ("a curve of 1,000 points, MLflow", curve, curve_there),
        ):
            yield compare(name, _often(own), _often(other), work=CALLS, unit="calls/s", rounds=rounds)
        assert len(grid()["members"]) == GRID
        yield compare(
            "100 runs that differ in a seed, MLflow", grid, grid_there, work=GRID, unit="runs/s", rounds=rounds
        )


@contextmanager
def _mlflow() -> Iterator[httpx2.Client]:
    """Its server with SQLite, as it starts by default, but for one process in place of four: ours is one too."""
    port = embedded.free_port("127.0.0.1")
    with tempfile.TemporaryDirectory() as folder:
        command = [str(PYTHON), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--default-artifact-root", folder]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}  # it would start seven more processes for evaluations
        with subprocess.Popen(
            command, cwd=folder, env=os.environ | quiet, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as server:
            address = f"http://127.0.0.1:{port}"
            try:
                with httpx2.Client(base_url=address, timeout=120, trust_env=False) as http:
                    wait_for(http, "/health")
                    yield http
            finally:
                server.terminate()


class _Thin:
    """One kept connection to where a client leads, with its headers; answers are read as JSON."""

    def __init__(self, client: httpx2.Client) -> None:
        self._connection = HTTPConnection(client.base_url.host, client.base_url.port, timeout=120)
        key = client.headers.get("Authorization")
        self._headers = {"Content-Type": "application/json", **({"Authorization": key} if key else {})}

    def get(self, path: str, **asked: Any) -> Any:
        return self._answer("GET", f"{path}?{urlencode(asked)}" if asked else path)

    def post(self, path: str, body: Any) -> Any:
        return self._answer("POST", path, json.dumps(body).encode())

    def _answer(self, method: str, path: str, body: bytes | None = None) -> Any:
        self._connection.request(method, path, body, self._headers)
        answer = self._connection.getresponse()
        told = answer.read()
        assert answer.status < 300, told
        return json.loads(told)


def _fill(http: _Thin) -> tuple[str, str]:
    """1,000 runs, of which one has a curve: its experiment and its id."""
    experiment = http.post(f"{API}/experiments/create", {"name": "bench"})["experiment_id"]
    run = ""
    for i in range(RUNS):
        asked = {"experiment_id": experiment, "run_name": f"run-{i}", "start_time": _now()}
        run = http.post(f"{API}/runs/create", asked)["run"]["info"]["run_id"]
    points = [{"key": "loss", "value": 1 / (i + 1), "step": i, "timestamp": _now()} for i in range(POINTS)]
    http.post(f"{API}/runs/log-batch", {"run_id": run, "metrics": points})
    return experiment, run


def _often(call: Any) -> Any:
    return lambda: [call() for _ in range(CALLS)]


def _now() -> int:
    return int(1000 * time.time())
