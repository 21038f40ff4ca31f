"""Weights of elsewhere in the store: what is refused at submit, what others may name, and what a card says."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from cmac_core.events import Artifact, Ended, Result, Value
from store import artifacts, checkpoints, inputs, model_cards, results, roots
from store.ends import Reason
from store.errors import Incompatible, InvalidSpec, SpecProblem, UnknownReference
from store.keys import Principal, Role
from store.states import JobState
from store.tables import Job
from tests.store.lab import Lab

MODEL = {"video": "r2plus1d_18", "audio": "resnet9", "width": 64, "depth": 2}


@pytest.fixture(autouse=True)
def media(lab: Lab, tmp_path: Path) -> Path:
    """A root with a file of weights."""
    folder = tmp_path / "media"
    folder.mkdir()
    (folder / "weights.pt").write_bytes(b"weights")
    (folder / "out.pt").symlink_to(tmp_path / "elsewhere.pt")
    (tmp_path / "elsewhere.pt").touch()
    roots.add(lab.session, "media", folder, lab.principal)
    return folder


def refused(lab: Lab, kind: type[SpecProblem], spec: str, **changes: Any) -> dict[str, str]:
    with pytest.raises(kind) as caught:
        lab.submit(spec, **changes)
    return {error.pointer: f"{error.message} {error.hint or ''}" for error in caught.value.errors}


def imported(lab: Lab, layout: str = "selavi", encoders: tuple[str, ...] = ("audio", "video"), **changes: Any) -> Job:
    """An import that has succeeded."""
    job = lab.submit("import", **changes)
    lease = lab.run(job)
    lab.save(job, lease, step=0, kind="weights")
    protocol = {"layout": layout, "encoders": list(encoders), "model": MODEL, "pixels": {"mean": 0.45, "std": 0.225}}
    origin = {"layout": layout, "file": "weights.pt", "sha256": "5" * 64, "of": None}
    value = Value(name="parameters", value=31_300_125, unit="", n=185, modality="video")
    lab.tell(lease, Result(values=(value,), protocol=protocol, lineage={"imported": origin}), Ended(outcome="finished"))
    lab.finish(lease)
    return lab.again(job)


@pytest.mark.parametrize(
    ("source", "pointer", "word"),
    [
        ({"root": "nowhere", "path": "weights.pt"}, "/source/root", "known: media"),
        ({"root": "media", "path": "other.pt"}, "/source/path", "there is no file 'other.pt'"),
        ({"root": "media", "path": "."}, "/source/path", "there is no file '.'"),
    ],
)
def test_a_file_that_is_not_there_is_refused(lab: Lab, source: dict[str, str], pointer: str, word: str) -> None:
    assert word in refused(lab, UnknownReference, "import", source=source)[pointer]


@pytest.mark.parametrize("path", ["../elsewhere.pt", "/etc/passwd", "out.pt", "a\0b"])
def test_a_file_outside_of_its_root_is_refused(lab: Lab, path: str) -> None:
    assert "/source/path" in refused(lab, InvalidSpec, "import", source={"root": "media", "path": path})


def test_an_import_takes_a_slot_and_no_gpu_and_reads_its_file(lab: Lab, media: Path) -> None:
    lab.node("big", slots=1, gpus=8)
    job = lab.submit("import")
    assert (job.gpus, job.cpu_slots) == (0, 1)
    found = inputs.resolve(lab.session, job)
    assert found.files == {"weights": {"path": str(media / "weights.pt"), "sha256": None}}
    (media / "weights.pt").unlink()
    assert "no file" in str(inputs.resolve(lab.session, job).problem)


def test_an_import_that_left_no_checkpoint_has_not_succeeded(lab: Lab) -> None:
    job = lab.submit("import")
    lease = lab.run(job)
    value = Value(name="parameters", value=1, unit="", n=1)
    lab.tell(lease, Result(values=(value,), protocol={}), Ended(outcome="finished"))
    lab.finish(lease)
    assert lab.again(job).state is not JobState.succeeded


def test_evaluations_and_pretrainings_name_an_import_by_its_job_or_its_checkpoint(lab: Lab) -> None:
    early = lab.submit("import")
    waiting = lab.submit("retrieval", checkpoint={"job": str(early.id)})
    assert (waiting.state, waiting.checkpoint_job) == (JobState.blocked, early.id)
    done = imported(lab)
    (checkpoint,) = checkpoints.of_job(lab.session, done.id)
    assert done.resume_checkpoint is None  # there is nothing to go on from
    by_job = lab.submit("retrieval", checkpoint={"job": str(done.id)})
    by_id = lab.submit("retrieval", checkpoint={"id": str(checkpoint.id)})
    start = lab.submit("pretrain", init={"job": str(done.id)}, model={"width": 64, "depth": 2})
    for job in (by_job, by_id, start):
        assert inputs.resolve(lab.session, job).files["checkpoint"]["path"] == checkpoint.path
    assert results.lineage(lab.session, done)["import_job"] == str(done.id)


@pytest.mark.parametrize(
    ("kind", "changes", "fits"),
    [
        ("retrieval", {}, True),
        ("probe", {"modality": "video", "pool": ["gap"]}, True),
        ("probe", {"modality": "audio"}, False),
        ("attention", {}, False),
    ],
)
def test_torchvisions_weights_see_and_do_not_hear(lab: Lab, kind: str, changes: Any, fits: bool) -> None:
    before = lab.submit("import", layout="torchvision")
    after = imported(lab, "torchvision", ("video",))
    for job in (before, after):
        body = changes | {"checkpoint": {"job": str(job.id)}}
        if fits:
            assert lab.submit(kind, **body).checkpoint_job == job.id
        else:
            told = refused(lab, Incompatible, kind, **body)["/checkpoint"]
            assert "import is of torchvision" in told or "encoders alone" in told


def test_a_pretraining_waits_for_what_it_starts_from_and_reads_it_once(lab: Lab) -> None:
    trained = lab.submit()
    job = lab.submit(init={"job": str(trained.id)}, seed=3)
    assert (job.state, job.checkpoint_job) == (JobState.blocked, trained.id)
    lab.succeed(trained)
    assert "checkpoint" in inputs.resolve(lab.session, job).files
    lab.save(job, lab.run(lab.again(job)), data=b"own")
    trained.resume_checkpoint = None  # as after its removal
    lab.session.flush()
    going_on = inputs.resolve(lab.session, lab.again(job))
    assert (going_on.problem, set(going_on.files)) == (None, {"dataset", "resume"})


def test_a_pretraining_starts_from_equal_networks_alone(lab: Lab) -> None:
    trained = lab.submit()
    told = refused(lab, Incompatible, "pretrain", init={"job": str(trained.id)}, model={"width": 16})
    expected = "the checkpoint under init has 8; a pretraining starts from equal networks alone set it to 8"
    assert told == {"/model/width": expected}
    seeing = imported(lab, "torchvision", ("video",))
    fitting = {"init": {"job": str(seeing.id)}, "model": {"width": 64, "depth": 2}}
    assert "/init" in refused(lab, Incompatible, "pretrain", objective="single_a", **fitting)
    assert lab.submit("pretrain", **fitting).checkpoint_job == seeing.id
    unknown = {"id": str(uuid.uuid4())}
    assert "/init/id" in refused(lab, UnknownReference, "pretrain", init=unknown)
    assert "/init/job" in refused(lab, Incompatible, "pretrain", init={"job": str(lab.submit("retrieval").id)})


def test_the_lineage_of_a_pretraining_names_what_it_left_and_what_it_started_from(lab: Lab) -> None:
    trained = lab.submit()
    lab.succeed(trained)
    job = lab.submit(init={"job": str(trained.id)}, seed=3)
    lab.succeed(job)
    told = results.lineage(lab.session, lab.again(job))
    assert told["checkpoint"] == str(lab.again(job).resume_checkpoint)
    assert (told["pretrain_job"], told["init_job"]) == (str(job.id), str(trained.id))
    assert told["init_checkpoint"] == str(trained.resume_checkpoint)


def test_a_card_names_data_settings_code_and_the_results_of_this_checkpoint(lab: Lab) -> None:
    job = lab.submit(name="base", loss={"lambda_ac": 0.5}, seed=11)
    lab.succeed(job)
    for which, seen in (({"job": str(job.id)}, 61.25), ({"random_init": True}, 9.0)):
        evaluation = lab.submit("retrieval", checkpoint=which)
        lease = lab.run(evaluation)
        value = Value(name="r@1", value=seen, n=20, ci_low=50, ci_high=70.5, pool="gap", chance=12.5)
        lab.tell(lease, Result(values=(value,), protocol={}), Ended(outcome="finished"))
        lab.finish(lease)
    (checkpoint,) = checkpoints.of_job(lab.session, job.id)
    text = model_cards.model_card(lab.session, checkpoint, lab.principal).markdown()
    assert text.startswith("# base\n")
    assert "- dataset: moving@1" in text
    assert f"- manifest: {'0' * 64}" in text
    assert "- seed: 11\n" in text
    assert "- train_epochs: 1.0\n" in text
    assert "| `loss.lambda_ac` | 1.5 | 0.5 |" in text
    assert "| `model.width` | 64 | 8 |" in text
    assert "| retrieval on moving@1 | r@1, pool gap | 61.2 % (50.0 to 70.5) | 20 |  | 12.5 % |" in text
    assert "9.0 %" not in text
    stranger = Principal("admin", Role.viewer, project="elsewhere")
    assert "No evaluation of these encoders" in model_cards.model_card(lab.session, checkpoint, stranger).markdown()


def test_a_card_of_an_import_says_where_it_was_found(lab: Lab) -> None:
    job = imported(lab)
    (checkpoint,) = checkpoints.of_job(lab.session, job.id)
    text = model_cards.model_card(lab.session, checkpoint, lab.principal).markdown()
    assert f"- sha256: {'5' * 64}" in text
    assert "- layout: selavi" in text
    assert "No evaluation of these encoders has a result yet." in text


def test_the_export_belongs_to_the_checkpoint_of_its_step(lab: Lab) -> None:
    job = lab.submit(checkpoints={"keep": 0})
    lease = lab.run(job)
    for step in (10, 20):
        lab.save(job, lease, step=step)
    file = {"name": "encoders.safetensors", "kind": "encoders", "media_type": "application/octet-stream"}
    lab.tell(lease, Artifact(**file, path="e.safetensors", sha256="7" * 64, bytes=7, meta={"step": 20}))
    last, middle = checkpoints.of_job(lab.session, job.id)
    found = artifacts.encoders_of(lab.session, last)
    assert found is not None
    assert found.sha256 == "7" * 64
    assert artifacts.encoders_of(lab.session, middle) is None


def test_a_failed_import_is_no_checkpoint(lab: Lab) -> None:
    job = lab.submit("import")
    lab.finish(lab.run(job), Reason.data_error)
    assert "has failed" in refused(lab, Incompatible, "retrieval", checkpoint={"job": str(job.id)})["/checkpoint/job"]
