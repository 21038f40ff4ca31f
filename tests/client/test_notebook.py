"""Frames, and what a notebook shows: in a real kernel, against the real service."""

import builtins
import html
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from client import Client
from client.results import Value
from cmac_core.events import Metrics
from tests.api.conftest import Lab

NAME = "<script>alert('n')</script>"
PNG = bytes.fromhex("89504e470d0a1a0a")  # how every PNG begins


@pytest.fixture
def job(lab: Lab) -> str:
    """A job with a name that must be escaped, two curves, a value and a map."""
    job = lab.submit(name=NAME)
    lease = lab.start(job)
    meta = {"clip": "a/b", "modality": "video", "map": "s", "t0_s": 0.5, "shape": [2, 4, 4]}
    picture = lab.artifact(job, "a.png", PNG + job.encode(), "image/png", "attention_png", **meta)
    points = (Metrics(step=step, values={"loss": 2.0 - step, "rate": 5.0}) for step in range(3))
    lab.tell(lease, picture, *points)
    lab.succeed(lease)
    return job


def test_results_and_curves_become_frames(client: Client, job: str) -> None:
    found = client.job(job)
    values = found.result().frame()
    assert list(values.columns) == list(Value.model_fields)
    assert values.loc[0, ["name", "value", "pool", "chance"]].to_list() == ["r@1", 57.9, "gap", 12.5]
    curves = found.curves()
    assert list(curves.columns) == ["name", "step", "value", "low", "high"]
    assert curves[curves.name == "loss"].value.to_list() == [2.0, 1.0, 0.0]
    assert found.curves(["rate"], x="time").name.unique().tolist() == ["rate"]


def test_a_job_without_numbers_is_an_empty_frame_with_its_columns(client: Client, lab: Lab) -> None:
    waiting = client.job(lab.submit())
    assert (len(waiting.curves()), list(waiting.curves().columns)[:2]) == (0, ["name", "step"])
    assert len(waiting.result().frame()) == 0


def test_an_experiments_tables_become_one_frame_and_html(client: Client, lab: Lab) -> None:
    grid: dict[str, Any] = {
        "kind": "experiment", "name": NAME, "seeds": [0], "grid": {"contrastive.tau": [0.05, 0.1]},
        "base": {"kind": "pretrain", "dataset": "moving", "scale": "small", "resources": {"cpu_slots": 1}},
        "then": [{"key": "found", "spec": {"kind": "retrieval", "dataset": "moving", "scale": "small"}}],
    }  # fmt: skip
    found = client.experiment(lab.http.post("/jobs", json=grid).json()["id"])
    frame = found.frame()
    assert set(frame.source) == {"ours"}
    assert set(frame.state) == {"pending"}
    shown = found._repr_html_()
    assert html.escape(NAME) in shown
    assert "<script" not in shown
    found.cancel(force=True)


def test_without_pandas_the_error_says_what_to_install(
    client: Client, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pandas":
            raise ModuleNotFoundError("No module named 'pandas'", name="pandas")
        return imported(name, *rest, **more)

    result = client.job(job).result()
    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(ImportError, match=r"pip install 'cmac-lab\[frames\]'"):
        result.frame()


def test_a_map_is_fetched_once_however_often_it_is_shown(
    client: Client, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (found,) = client.job(job).attention()
    assert found._repr_png_() == PNG + job.encode()
    monkeypatch.setattr("client.results.fetch", None)
    assert found._repr_png_() == PNG + job.encode()


CELLS = """
from client import Client
lab = Client()
job = lab.job({job!r})
result = job.wait(progress=True)
---
job
---
result
---
job.attention()[0]
---
job.curves()
"""
RUN = """
import json, sys
import nbformat
from nbclient import NotebookClient
cells = [nbformat.v4.new_code_cell(text.strip()) for text in sys.stdin.read().split("---")]
notebook = nbformat.v4.new_notebook(cells=cells)
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


def test_a_real_notebook_shows_progress_tables_pictures_and_frames(lab: Lab, job: str, tmp_path: Path) -> None:
    # Its own process: the kernel's machinery is nobody's but its own, warnings included.
    environment = {
        **os.environ, "CMAC_URL": lab.url, "CMAC_API_KEY": str(lab.http.headers["Authorization"]).split()[1],
        "JUPYTER_DATA_DIR": str(tmp_path / "data"), "IPYTHONDIR": str(tmp_path / "ipython"),
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=CELLS.format(job=job), env=environment,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    shown = json.loads(done.stdout)
    data = [[output.get("data", {}) for output in cell] for cell in shown]
    assert "<progress max='1' value=1.0000>" in data[0][0]["text/html"]
    assert html.escape(NAME) in data[1][0]["text/html"]
    assert "57.9" in data[2][0]["text/html"]
    assert data[3][0]["image/png"].startswith("iVBORw0KGg")
    assert "loss" in data[4][0]["text/html"]
    assert not any("<script" in output.get("text/html", "") for cell in data for output in cell)
