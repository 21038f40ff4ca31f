"""Everything that a job left comes into a folder, once, whole and checked."""

import json
import uuid
from pathlib import Path
from typing import Any

import pytest

from client import BadDownload, Client
from client.places import inside, labelled
from client.pulls import pull
from cmac_core.events import Metrics, Saved
from store.ends import Reason
from tests.api.conftest import Lab
from tests.client.conftest import Cmac

TENSORS = b"tensors" * 1000


@pytest.fixture
def job(lab: Lab) -> str:
    """A job with a picture, a table in a folder, weights, two curves and a log."""
    job = lab.submit(name="left / much")
    lease = lab.start(job)
    (lab.folder(job) / "sub").mkdir()
    (lab.folder(job) / "checkpoints/step-7").mkdir(parents=True)
    path = "checkpoints/step-7/state.pt"
    (lab.folder(job) / path).write_bytes(b"state")
    (lab.folder(job) / "log.txt").write_text("what it said\n")
    lab.tell(
        lease,
        Saved(step=7, train_epoch=0, path=path, sha256="0" * 64, bytes=5, kind="weights"),
        lab.artifact(job, "sub/table.csv", b"a,b\n", "text/csv"),
        lab.artifact(job, f"{uuid.uuid4().hex}.png", job.encode(), "image/png"),
        lab.artifact(job, "encoders.safetensors", TENSORS, "x/y", "encoders", step=7),
        *(Metrics(step=step, values={"loss": 1.0 / (step + 1), "rate": 5.0}) for step in range(3)),
    )
    lab.succeed(lease)
    return job


def test_a_job_becomes_a_folder(cmac: Cmac, job: str, tmp_path: Path) -> None:
    said = cmac("pull", job[:8], "--out", str(tmp_path), "--json")
    assert (said.code, said.err) == (0, "")
    (told,) = json.loads(said.out)
    folder = tmp_path / f"left-much-{job[:8]}"
    assert told["folder"] == str(folder)
    assert json.loads((folder / "spec.json").read_text())["kind"] == "retrieval"
    assert json.loads((folder / "result.json").read_text())["values"][0]["value"] == 57.9
    assert (folder / "log.txt").read_text() == "what it said\n"
    assert (folder / "curves.csv").read_text().count("\n") == 7
    assert (folder / "artifacts/sub/table.csv").read_text() == "a,b\n"
    assert (folder / "checkpoints/step-7/encoders.safetensors").read_bytes() == TENSORS
    assert (folder / "checkpoints/step-7/model-card.md").read_text().startswith("# left / much")
    assert not list(folder.rglob("*.part"))
    assert not (folder / "artifacts/encoders.safetensors").exists()  # they are the checkpoint's already


def test_what_is_there_and_right_is_not_fetched_again_and_what_is_wrong_is(
    client: Client, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = pull(client.job(job), tmp_path)
    weights = first.folder / "checkpoints/step-7/encoders.safetensors"
    weights.write_bytes(TENSORS[:-1] + b"x")  # of the right size, and wrong
    asked: list[str] = []
    stream = client.connection.stream

    def noting(path: str, *rest: Any, **more: Any) -> Any:
        asked.append(path)
        return stream(path, *rest, **more)

    monkeypatch.setattr(client.connection, "stream", noting)
    again = pull(client.job(job), tmp_path)
    assert [path.rpartition("/")[2] for path in asked] == ["file"]
    assert weights.read_bytes() == TENSORS
    assert len(again.kept) == 2


def test_only_a_part_comes_when_only_that_is_wanted(cmac: Cmac, job: str, tmp_path: Path) -> None:
    assert cmac("pull", job, "--out", str(tmp_path), "--only", "log").code == 0
    (folder,) = tmp_path.iterdir()
    assert {file.name for file in folder.iterdir()} == {"log.txt", "spec.json", "result.json"}
    assert cmac("pull", job, "--out", str(tmp_path), "--only", "artifacts").code == 0
    assert (folder / "artifacts/encoders.safetensors").read_bytes() == TENSORS
    wrong = cmac("pull", job, "--only", "pictures")
    assert (wrong.code, "artifacts, checkpoints, curves, log" in wrong.err) == (2, True)


def test_bytes_that_are_not_what_they_are_named_are_not_kept(lab: Lab, client: Client, tmp_path: Path) -> None:
    job = lab.submit()
    lease = lab.start(job)
    lab.tell(lease, lab.artifact(job, "table.csv", b"right", "text/csv"))
    lab.succeed(lease)
    (lab.folder(job) / "table.csv").write_bytes(b"wrong")
    with pytest.raises(BadDownload):
        pull(client.job(job), tmp_path)
    assert not list(tmp_path.rglob("table.csv*"))


def test_an_experiment_comes_with_its_table_and_all_its_jobs(lab: Lab, cmac: Cmac, tmp_path: Path) -> None:
    grid: dict[str, Any] = {
        "kind": "experiment", "name": "grid", "seeds": [0], "grid": {"contrastive.tau": [0.05, 0.1]},
        "base": {"kind": "pretrain", "dataset": "moving", "scale": "small", "resources": {"cpu_slots": 1}},
    }  # fmt: skip
    made = lab.http.post("/jobs", json=grid).json()
    first, second = (member["id"] for member in made["members"])
    lab.succeed(lab.start(first))
    lab.finish(lab.start(second), Reason.oom, detail="out of memory")
    said = cmac("pull", made["id"], "--out", str(tmp_path))
    assert said.code == 0, said
    folder = tmp_path / f"grid-{made['id'][:8]}"
    names = {file.name for file in folder.iterdir()}
    assert names >= {"table.json", "table.csv", "table.md", "table.tex", "spec.json", "result.json", "jobs"}
    assert len(list((folder / "jobs").iterdir())) == 2
    assert len(list(folder.glob("jobs/*/result.json"))) == 2


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "a/../../b", "..", "", ".hidden", "a\\..\\b", "c:d"]
)
def test_no_name_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    place = inside(tmp_path, name)
    assert place.resolve().is_relative_to(tmp_path.resolve())
    assert place != tmp_path
    assert not place.name.startswith(".")


def test_a_folders_name_tells_which_job_it_is() -> None:
    assert labelled("table 4 / full", "0b0e1234-rest") == "table-4-full-0b0e1234"
    assert labelled("", "0b0e1234-rest") == "0b0e1234"
