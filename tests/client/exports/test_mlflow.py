"""Jobs as runs of a real MLflow server, of an environment of its own (as `make peers` makes it)."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from cmac_core.events import Metrics
from tests.api.conftest import Lab
from tests.client.conftest import Cmac

ROOT = Path(__file__).parents[3]


def test_a_server_that_is_away_exits_4(cmac: Cmac, job: str) -> None:
    said = cmac("export", "mlflow", job, "--to", "http://127.0.0.1:9")
    assert (said.code, "no MLflow server answers at http://127.0.0.1:9" in said.err.replace("\n", " ")) == (4, True)


def test_what_is_no_mlflow_server_is_told(cmac: Cmac, lab: Lab, job: str) -> None:
    said = cmac("export", "mlflow", job, "--to", lab.url)
    assert (said.code, "answered" in said.err) == (2, True)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The mlflow of .venv-peers; without that, one installed for these tests."""
    theirs = ROOT / ".venv-peers/bin/python"
    if theirs.exists():
        return theirs
    folder = tmp_path_factory.mktemp("mlflow")
    uv = Path(sys.executable).with_name("uv")
    wanted = next(line for line in (ROOT / "requirements/peers.in").read_text().splitlines() if "mlflow" in line)
    for command in (["venv", "--quiet", str(folder)], ["pip", "install", "--quiet", "--python", str(folder), wanted]):
        try:
            subprocess.run([str(uv), *command], capture_output=True, text=True, check=True, timeout=300)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            pytest.skip(f"mlflow cannot be installed here: {str(error.stderr).strip()[-300:]}")
    return folder / "bin/python"


@pytest.fixture(scope="session")
def server(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(program), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
               "--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "files"),
               "--serve-artifacts"]  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("CMAC_", "PYTHON"))}
    environment |= {"PYTHONDONTWRITEBYTECODE": "1", "MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    url = f"http://127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True
        )  # fmt: skip
    try:
        end = time.monotonic() + 120
        while True:
            try:
                if httpx2.get(f"{url}/health", trust_env=False).status_code == 200:
                    break
            except httpx2.TransportError:
                pass
            assert time.monotonic() < end, (folder / "log").read_text()[-3000:]
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def asked(server: str, path: str, **params: Any) -> Any:
    answer = httpx2.get(f"{server}/api/2.0/{path}", params=params, trust_env=False)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.system
@pytest.mark.timeout(400)
def test_settings_curves_values_tags_and_files_arrive_and_twice_is_one_run(
    cmac: Cmac, lab: Lab, job: str, server: str
) -> None:
    said = cmac("export", "mlflow", job[:8], "--to", server, "--json")
    assert said.code == 0, said
    (told,) = json.loads(said.out)
    again = cmac("export", "mlflow", job, "--to", server, "--json")
    assert again.code == 0, again
    assert json.loads(again.out) == [told]
    run = asked(server, "mlflow/runs/get", run_id=told["run"])["run"]
    assert run["info"]["status"] == "FINISHED"
    params = {one["key"]: one["value"] for one in run["data"]["params"]}
    assert (params["seed"], params["geometry.frames"]) == ("3", "8")
    tags = {one["key"]: one["value"] for one in run["data"]["tags"]}
    assert (tags["cmac.job"], tags["cmac.manifest_sha256"]) == (job, "0" * 64)
    assert tags["cmac.spec_sha256"] == lab.http.get(f"/jobs/{job}").json()["spec_sha256"]
    metrics = {one["key"]: one["value"] for one in run["data"]["metrics"]}
    assert metrics["r_at_1/pool_gap/split_1"] == 57.9
    history = []
    page: dict[str, Any] = {"next_page_token": None}
    while "next_page_token" in page:
        wanted = {"run_id": told["run"], "metric_key": "loss", "max_results": 1000}
        token = {"page_token": page["next_page_token"]} if page["next_page_token"] else {}
        page = asked(server, "mlflow/metrics/get-history", **wanted, **token)
        history += page["metrics"]
    assert sorted(int(one.get("step", 0)) for one in history) == list(range(1200))  # each once, after two exports
    listed = asked(server, "mlflow/artifacts/list", run_id=told["run"])["files"]
    assert {one["path"] for one in listed} == {"spec.json", "result.json", "files"}
    uri = run["info"]["artifact_uri"].removeprefix("mlflow-artifacts:")
    table = httpx2.get(f"{server}/api/2.0/mlflow-artifacts/artifacts{uri}/files/sub/table.csv", trust_env=False)
    assert table.content == b"a,b\n"


@pytest.mark.system
@pytest.mark.timeout(400)
def test_a_job_that_goes_on_is_brought_up_to_date(cmac: Cmac, lab: Lab, server: str) -> None:
    job = lab.submit(name="goes on")
    lease = lab.start(job)
    lab.tell(lease, *(Metrics(step=step, values={"loss": 1.0}) for step in range(3)))
    (first,) = json.loads(cmac("export", "mlflow", job, "--to", server, "--experiment", "other", "--json").out)
    assert asked(server, "mlflow/runs/get", run_id=first["run"])["run"]["info"]["status"] == "RUNNING"
    lab.tell(lease, *(Metrics(step=step, values={"loss": 0.5}) for step in range(3, 5)))
    lab.succeed(lease)
    (second,) = json.loads(cmac("export", "mlflow", job, "--to", server, "--experiment", "other", "--json").out)
    assert second == first
    run = asked(server, "mlflow/runs/get", run_id=first["run"])["run"]
    latest = {one["key"]: one for one in run["data"]["metrics"]}["loss"]
    assert (run["info"]["status"], latest["step"], latest["value"]) == ("FINISHED", 4, 0.5)
    found = httpx2.post(
        f"{server}/api/2.0/mlflow/runs/search",
        json={"experiment_ids": [run["info"]["experiment_id"]]}, trust_env=False,
    ).json()["runs"]  # fmt: skip
    assert len(found) == 1
