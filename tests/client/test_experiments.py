"""Experiments from Python and from the command line, against the real service."""

import json
import threading
import time
import uuid
from pathlib import Path
from typing import Any

import pytest

from client import Client, Experiment, JobCancelled, JobFailed
from client.corpus import pack_generated
from client.errors import BadInput, InvalidSpec
from cmac_core.events import Ended, Result, Value
from cmac_core.specs import JOB_SPEC
from store.ends import Reason
from tests.api.conftest import Lab
from tests.client.conftest import Cmac

GRID: dict[str, Any] = {
    "kind": "experiment",
    "name": "mine",
    "base": {"kind": "retrieval", "dataset": "moving", "scale": "small", "checkpoint": {"random_init": True},
             "resources": {"cpu_slots": 1}},
    "grid": {"n_clips": [1, 2]},
}  # fmt: skip
TABLE_1 = ("submit", "--recipe", "table-1", "--scale", "small", "--dataset", "moving")


def measure(lab: Lab, job: str, value: float) -> None:
    lease = lab.start(job)
    found = Value(name="r@1", value=value, n=20, modality="video", pool="gap")
    lab.tell(lease, Result(values=(found,), protocol={}), Ended(outcome="finished"))
    lab.finish(lease)


def submitted(client: Client, **changes: Any) -> Experiment:
    made = client.submit(GRID | changes)
    assert isinstance(made, Experiment)
    return made


def test_an_experiment_is_waited_for_and_its_table_read(client: Client, lab: Lab) -> None:
    made = submitted(client)
    work = threading.Thread(target=lambda: [measure(lab, one["id"], 50.0) for one in made.members])
    work.start()
    result = made.wait(timeout=20)
    work.join()
    assert (result.state, result.counts) == ("succeeded", {"succeeded": 2})
    assert [row["cells"][0]["mean"] for row in made.table()[0]["rows"]] == [50.0, 50.0]
    assert made.table("markdown").startswith("## mine")
    assert made.table("csv").startswith("table,source,row")
    assert client.experiment(made.id[:8]).counts == client.find(made.id).row["counts"] == {"succeeded": 2}
    assert made.id in [one.id for one in client.experiments(50)]
    assert {job.kind for job in made.jobs()} == {"retrieval"}


def test_what_failed_is_told_and_run_again(client: Client, lab: Lab) -> None:
    made = submitted(client)
    good, bad = (one["id"] for one in made.members)
    measure(lab, good, 50.0)
    lab.finish(lab.start(bad), Reason.oom, detail="out of memory")
    with pytest.raises(JobFailed, match=r"1 of 2 jobs failed, first grid n_clips=2 seed 0 \(oom: out of memory\)"):
        made.wait()
    assert made.retry().counts == {"queued": 1, "succeeded": 1}
    assert made.retry(rows=["n_clips=1"]).row["retried"] == []
    made.cancel()
    with pytest.raises(JobCancelled):
        made.wait()
    job = client.submit(GRID["base"])
    job.cancel()
    assert job.retry().row["retry_of"] == job.id
    with pytest.raises(BadInput, match="only an experiment has rows"):
        job.retry(rows=["a"])


def test_a_wrong_experiment_is_explained_like_a_wrong_job(client: Client) -> None:
    with pytest.raises(InvalidSpec) as caught:
        client.submit({"kind": "experiment", "recipe": "tabel-1"})
    assert [(error.pointer, error.hint) for error in caught.value.errors] == [("/recipe", "did you mean table-1?")]


def test_the_command_lists_what_a_recipe_would_make(cmac: Cmac) -> None:
    said = cmac(*TABLE_1, "--seeds", "0,1", "--dry-run")
    assert (said.code, said.err) == (0, "")
    assert "table-1/full/0" in said.out
    assert "8 pretrain" in said.out
    assert "GPU-hours" in said.out
    told = json.loads(cmac(*TABLE_1, "--set", "optim.epochs=2", "--dry-run", "--json").out)[0]
    assert {job["train_epochs"] for job in told["jobs"] if job["kind"] == "pretrain"} == {2}
    missing = cmac("submit", "--recipe", "all", "--dry-run")
    assert "18" in missing.out
    assert "no, see below" in missing.out
    assert "/datasets/pretrain: there is no dataset 'kinetics400'" in missing.out


def test_the_command_submits_waits_and_prints_the_table(cmac: Cmac, lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(GRID))
    (made,) = json.loads(cmac("submit", str(file), "--json").out)
    for member in made["members"]:
        measure(lab, member["id"], 57.9)
    said = cmac("wait", made["id"])
    assert said.code == 0
    assert "57.9" in said.out
    assert "n_clips=2" in said.out
    assert "grid n_clips=1 seed 0: succeeded" in said.err
    assert made["id"][:8] in cmac("experiments").out
    assert cmac("results", made["id"]).out.count("57.9") == 2
    assert cmac("table", made["id"][:13]).out.count("57.9") == 2
    assert "| n_clips=1 | 57.9 |" in cmac("table", made["id"], "--markdown").out
    assert "\\toprule" in cmac("table", made["id"], "--latex").out
    assert cmac("table", made["id"], "--csv").out.startswith("table,source,row")
    assert cmac("table", made["id"], "--svg").out.startswith("<svg")
    assert cmac("table", made["id"], "--svg", "--csv").code == 2
    assert json.loads(cmac("table", made["id"], "--json").out)["state"] == "succeeded"


def test_the_command_runs_a_failed_row_again(cmac: Cmac, client: Client, lab: Lab) -> None:
    made = submitted(client)
    for member in made.members:
        lab.finish(lab.start(member["id"]), Reason.oom, detail="out of memory")
    said = cmac("wait", made.id)
    assert said.code == 1
    assert "2 of 2 jobs failed" in said.err
    assert "failed" in said.out
    again = cmac("retry", made.id, "--row", "n_clips=1")
    assert (again.code, "1 jobs run again" in again.err) == (0, True)
    assert "run again" in cmac("retry", made.id).err
    assert "nothing runs again" in cmac("retry", made.id).err
    assert cmac("cancel", made.id).code == 0
    assert client.experiment(made.id).state == "cancelled"


def test_options_of_recipes_and_files_do_not_mix(cmac: Cmac, tmp_path: Path) -> None:
    file = tmp_path / "grid.json"
    file.write_text(json.dumps(GRID))
    for arguments, words in (
        (("submit",), "give spec files, or --recipe"),
        (("submit", str(file), "--recipe", "table-1"), "makes its own specs"),
        (("submit", str(file), "--seeds", "0"), "--seeds goes with --recipe"),
        (("submit", "--recipe", "table-1", "--seeds", "zero"), "write them as 0,1,2"),
        (("submit", "--recipe", "table-1", "--set", "optim.epochs"), "field=value"),
        (("submit", "--recipe", "tabel-1"), "did you mean table-1?"),
    ):
        said = cmac(*arguments)
        assert (said.code, words in said.err) == (2, True), said.err


def test_without_data_a_small_recipe_packs_the_generated_corpus_first(cmac: Cmac, client: Client, lab: Lab) -> None:
    assert JOB_SPEC.validate_python(pack_generated(500)).kind == "pack"

    def refuse() -> None:
        """The pack is submitted and waited for; here it fails, so the experiment is never made."""
        end = time.monotonic() + 20
        while not (packs := list(client.jobs(1, name="demo corpus", state="queued"))) and time.monotonic() < end:
            time.sleep(0.1)
        lab.finish(lab.start(packs[0].id), Reason.data_error, detail=name)

    name = uuid.uuid4().hex
    work = threading.Thread(target=refuse)
    work.start()
    said = cmac("submit", "--recipe", "table-1", "--scale", "small")
    work.join()
    assert said.code == 1
    assert "packing a generated corpus of 500 clips first" in said.err
    assert name in said.err
