"""What is taken, what is filled in, and everything that is refused at submit."""

import uuid
from typing import Any

import pytest
from sqlalchemy import func, select

from cmac_core.events import DatasetMade
from cmac_core.specs import JOB_SPEC
from store import compatibility, jobs, nodes
from store.ends import Reason
from store.errors import Forbidden, Incompatible, Infeasible, InvalidSpec, QuotaExceeded, SpecProblem, UnknownReference
from store.keys import Principal, Role
from store.references import References
from store.states import JobState
from store.submission import Findings, Resolved
from store.tables import Audit, Job, JobEdge, Node
from tests.store.lab import Lab


def refused(lab: Lab, kind: type[SpecProblem], spec: str = "pretrain", **changes: Any) -> dict[str, str]:
    """Pointers and messages of the refusal."""
    before = lab.session.scalar(select(func.count()).select_from(Job))
    with pytest.raises(kind) as caught:
        lab.submit(spec, **changes)
    assert lab.session.scalar(select(func.count()).select_from(Job)) == before
    return {error.pointer: f"{error.message} {error.hint or ''}" for error in caught.value.errors}


def test_the_stored_spec_has_versions_and_numbers(lab: Lab) -> None:
    lab.dataset(version=2)
    job = lab.submit()
    assert job.spec["dataset"] == "moving@2"
    assert job.spec["precision"] == "fp32"
    assert (job.spec["resources"]["gpus"], job.spec["resources"]["cpu_slots"]) == (None, 2)
    assert JOB_SPEC.validate_python(job.spec).model_dump(mode="json") == job.spec
    assert lab.submit(dataset="moving@1").spec["dataset"] == "moving@1"


def test_with_gpus_the_default_is_one_and_bf16(lab: Lab) -> None:
    lab.node("big", slots=1, gpus=8)
    job = lab.submit()
    assert (job.gpus, job.cpu_slots, job.spec["precision"]) == (1, 0, "bf16")
    assert lab.submit("retrieval").gpus == 1
    assert lab.submit("pack").cpu_slots == 1


def test_without_gpus_a_pretraining_takes_all_slots_that_divide_its_batch(lab: Lab) -> None:
    lab.node("wide", slots=5)
    assert lab.submit().cpu_slots == 2  # 16 clips in groups of 8
    assert lab.submit(model={"bn_group": 4}).cpu_slots == 4
    assert lab.submit("probe").cpu_slots == 1
    assert lab.submit("finetune").cpu_slots == 1  # of an experiment's many, each has a slot


def test_several_machines_share_a_training_in_equal_parts(lab: Lab) -> None:
    for name in ("gpu-01", "gpu-02"):
        lab.node(name, slots=1, gpus=4)
    job = lab.submit(resources={"gpus": 2, "nodes": 2, "gpu_model": "h200"})
    assert (job.gpus, job.nodes, job.gpu_model, job.node_labels) == (2, 2, "h200", {})
    assert JOB_SPEC.validate_python(job.spec).model_dump(mode="json") == job.spec
    assert lab.submit(resources={"nodes": 2}).gpus == 2, "by default one on each"
    assert lab.submit(resources={"cpu_slots": 2, "nodes": 2}).cpu_slots == 2
    told = refused(lab, InvalidSpec, "retrieval", resources={"gpus": 2, "nodes": 2})
    assert "one process on one machine" in told["/resources/nodes"]
    told = refused(lab, InvalidSpec, resources={"gpus": 4, "nodes": 2})  # all ranks count
    assert "batch 16 on 4 ranks" in told["/optim/batch"]


def test_what_no_machine_is_or_has_is_said_in_words(lab: Lab) -> None:
    big, other = lab.node("gpu-01", slots=1, gpus=4), lab.node("gpu-02", slots=1, gpus=4)
    nodes.put_labels(lab.session, big.id, {"disk": "nvme"})
    told = refused(lab, Infeasible, resources={"gpus": 2, "gpu_model": "A100"})
    assert told["/resources/gpu_model"].startswith(
        "there is no machine of model A100; known: gpu-01 (4 H200, 1 CPU slots"
    )
    told = refused(lab, Infeasible, resources={"gpus": 2, "node_labels": {"disk": "tape"}})
    assert (
        "no machine labelled disk=tape; known: gpu-01 (4 H200, 1 CPU slots, disk=nvme)"
        in told["/resources/node_labels"]
    )
    told = refused(lab, Infeasible, resources={"gpus": 2, "nodes": 2, "node_labels": {"disk": "nvme"}})
    assert "needs 1 GPUs on each of 2 machines labelled disk=nvme" in told["/resources/nodes"]
    other.storage_id = "another"
    lab.session.flush()
    assert "one storage" in refused(lab, Infeasible, resources={"gpus": 2, "nodes": 2})["/resources/nodes"]
    told = refused(lab, Infeasible, resources={"cpu_slots": 64, "nodes": 2}, optim={"batch": 512})
    assert "needs 32 CPU slots on each of 2 machines; the largest has 2" in told["/resources/cpu_slots"]
    job = lab.submit(resources={"gpus": 2, "node_labels": {"disk": "nvme"}})
    assert job.node_labels == {"disk": "nvme"}


def test_a_batch_that_does_not_divide_is_refused_with_legal_numbers(lab: Lab) -> None:
    lab.node("big", slots=8)
    told = refused(lab, InvalidSpec, resources={"cpu_slots": 4})
    assert "legal: optim.batch 32, or model.bn_group 4, or 2 devices" in told["/optim/batch"]
    told = refused(lab, InvalidSpec, "finetune", resources={"cpu_slots": 2})
    assert "legal: optim.batch 32, or bn_group 8, or 1 device" in told["/optim/batch"]


def test_fewer_clips_than_a_step_takes_are_refused(lab: Lab) -> None:
    lab.dataset("few", clips=40, with_audio=15)
    told = refused(lab, InvalidSpec, dataset="few")
    assert "a step takes 16 videos, and few@1 has 15 that may be shown" in told["/optim/batch"]
    assert lab.submit(dataset="few", objective="single_v").state is JobState.queued
    lab.submit(dataset="few", contrastive={"wi_pos": True})  # 8 videos, two clips of each


def test_unknown_things_are_named_all_at_once(lab: Lab) -> None:
    told = refused(lab, UnknownReference, "retrieval", dataset="mooving", queue={"project": "none"},
                   checkpoint={"job": str(uuid.uuid4())})  # fmt: skip
    assert set(told) == {"/dataset", "/queue/project", "/checkpoint/job"}
    assert "moving" in told["/dataset"]


def test_an_old_version_that_is_not_there_names_the_newest(lab: Lab) -> None:
    assert "moving@1" in refused(lab, UnknownReference, dataset="moving@7")["/dataset"]


def test_a_dataset_that_is_being_packed_is_named_with_its_job(lab: Lab) -> None:
    pack = lab.submit("pack", dataset="soon")
    assert str(pack.id) in refused(lab, UnknownReference, dataset="soon")["/dataset"]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [("pretrain", {}), ("pretrain", {"objective": "single_a"}), ("probe", {}), ("attention", {})],
)
def test_without_sound_nothing_that_listens(lab: Lab, kind: str, changes: dict[str, Any]) -> None:
    lab.dataset("silent", with_audio=0)
    assert "has no sound" in refused(lab, Incompatible, kind, dataset="silent", **changes)["/dataset"]
    assert lab.submit("pretrain", objective="single_v", dataset="silent").state is JobState.queued


def test_sound_alone_is_nothing_to_look_at(lab: Lab) -> None:
    lab.dataset("spoken", media="audio")
    assert "sound alone" in refused(lab, Incompatible, dataset="spoken")["/dataset"]
    assert lab.submit(objective="single_a", dataset="spoken").state is JobState.queued


def test_columns_must_be_there(lab: Lab) -> None:
    lab.dataset("bare", labels={"class": 3}, counts={})
    told = refused(lab, Incompatible, "retrieval", dataset="bare", label="word", where={"room": "a"})
    assert set(told) == {"/label", "/split/column", "/where/room"}
    assert "it has class" in told["/label"]
    assert lab.submit("retrieval", dataset="bare", split={"seeded": 0.8}).state is JobState.queued
    assert "/split/folds" in refused(lab, Incompatible, "retrieval", dataset="bare", split={"folds": "fold"})


def test_split_values_must_occur(lab: Lab) -> None:
    told = refused(lab, Incompatible, "retrieval", split={"test": "val"})
    assert "test, train" in told["/split/test"]
    assert "no column 'split1'" in refused(lab, Incompatible, "finetune", split={"column": "split1"})["/split/column"]


@pytest.mark.parametrize(
    ("objective", "evaluation", "fits"),
    [
        ({"objective": "single_a"}, ("probe", {"modality": "video", "pool": ["gap"]}), False),
        ({"objective": "single_a"}, ("retrieval", {}), False),
        ({"objective": "single_a"}, ("finetune", {}), False),
        ({"objective": "single_v"}, ("finetune", {}), True),
        ({"objective": "single_a"}, ("probe", {}), True),
        ({"objective": "single_v"}, ("probe", {}), False),
        ({"objective": "single_v"}, ("attention", {}), False),
        ({"loss": {"lambda_ac": 0}}, ("attention", {}), False),
        ({"loss": {"lambda_ac": 0}}, ("retrieval", {}), True),
        ({}, ("attention", {}), True),
    ],
)
def test_an_evaluation_must_fit_what_was_trained(lab: Lab, objective: Any, evaluation: Any, fits: bool) -> None:
    trained, (kind, changes) = lab.submit(**objective), evaluation
    changes = changes | {"checkpoint": {"job": str(trained.id)}}
    if fits:
        assert lab.submit(kind, **changes).state is JobState.blocked
    else:
        assert "/checkpoint" in refused(lab, Incompatible, kind, **changes)


def test_a_checkpoint_comes_from_a_pretraining_that_lives_or_succeeded(lab: Lab) -> None:
    other = lab.submit("retrieval")
    assert "is a retrieval" in refused(lab, Incompatible, "probe", checkpoint={"job": str(other.id)})["/checkpoint/job"]
    failed = lab.submit()
    lab.finish(lab.run(failed), Reason.data_error)
    assert "has failed" in refused(lab, Incompatible, "probe", checkpoint={"job": str(failed.id)})["/checkpoint/job"]


def test_a_stored_checkpoint_is_named_by_its_id(lab: Lab) -> None:
    job = lab.submit()
    lab.succeed(job)
    evaluation = lab.submit("retrieval", checkpoint={"id": str(job.resume_checkpoint)})
    assert (evaluation.state, evaluation.checkpoint_id) == (JobState.queued, job.resume_checkpoint)
    assert "/checkpoint/id" in refused(lab, UnknownReference, "retrieval", checkpoint={"id": str(uuid.uuid4())})


def test_a_fine_tuned_network_is_no_pretrained_one(lab: Lab) -> None:
    tuned = lab.submit("finetune", resources={"cpu_slots": 1})
    lab.succeed(tuned)
    told = refused(lab, Incompatible, "retrieval", checkpoint={"id": str(tuned.resume_checkpoint)})
    assert "of a fine-tuning" in told["/checkpoint/id"]
    told = refused(lab, Incompatible, "retrieval", checkpoint={"job": str(tuned.id)})
    assert "is a finetune; only a pretrain" in told["/checkpoint/job"]


def test_what_no_machine_could_hold_is_refused_with_the_largest(lab: Lab) -> None:
    with pytest.raises(Infeasible) as caught:
        lab.submit("retrieval", resources={"gpus": 16})
    assert caught.value.members["largest"] == {"gpus": 0, "cpu_slots": 2}
    assert caught.value.errors[0].pointer == "/resources/gpus"


def test_before_any_machine_has_joined_the_message_says_so(lab: Lab) -> None:
    for node in lab.session.scalars(select(Node)).all():
        lab.session.delete(node)
    lab.session.flush()
    assert "no machine has joined" in refused(lab, Infeasible)["/resources/cpu_slots"]


def test_roles_and_projects_and_limits(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    eva = lab.someone("eva")
    with pytest.raises(Forbidden) as caught:
        lab.submit(by=eva, queue={"priority": "urgent"})
    assert caught.value.members == {"needs_role": "operator"}
    with pytest.raises(Forbidden):
        lab.submit(by=lab.someone("vi", Role.viewer))
    with pytest.raises(Forbidden):
        lab.submit(by=Principal("eva", Role.submitter, project="other"))
    monkeypatch.setattr("store.submission.settings", lambda: type("S", (), {"queued_per_user": 1})())
    lab.submit(by=eva)
    with pytest.raises(QuotaExceeded) as over:
        lab.submit(by=eva)
    assert over.value.members == {"limit": 1, "used": 1}


def test_a_foreign_job_is_no_parent(lab: Lab) -> None:
    trained = lab.submit()
    stranger = Principal("admin", Role.submitter, project="elsewhere")
    found = Findings()
    spec = JOB_SPEC.validate_python({"kind": "retrieval", "dataset": "moving", "checkpoint": {"job": str(trained.id)}})
    compatibility.check_references(References(lab.session, stranger), Resolved(spec, 2), found)
    assert {problem.pointer for _, problem in found.problems} == {"/dataset", "/checkpoint/job"}


def test_a_dry_run_tells_and_stores_nothing(lab: Lab) -> None:
    lab.submit()
    spec = JOB_SPEC.validate_python({"kind": "pretrain", "dataset": "moving", "preset": "small", "moco": {"K": 900}})
    told = jobs.estimate(lab.session, spec, lab.principal)
    assert told["position"] == 2
    assert told["feasible_nodes"] == ["here"]
    assert told["warnings"][0]["pointer"] == "/moco/K"
    assert told["estimate"]["disk_bytes"] > 1e6
    assert lab.session.scalar(select(func.count()).select_from(Job)) == 1


def test_who_submitted_what_is_on_the_trail(lab: Lab) -> None:
    job = lab.submit()
    row = lab.session.scalars(select(Audit)).one()
    assert (row.principal, row.action, row.target) == ("admin", "job.submit", str(job.id))


def test_edges_are_made_of_both_ways_of_naming_a_parent(lab: Lab) -> None:
    trained, other = lab.submit(), lab.submit()
    after = [{"job": str(other.id), "kind": "afterany"}]
    child = lab.submit("retrieval", checkpoint={"job": str(trained.id)}, queue={"after": after})
    edges = lab.session.scalars(select(JobEdge).where(JobEdge.child == child.id)).all()
    assert {(edge.parent, str(edge.kind)) for edge in edges} == {(trained.id, "afterok"), (other.id, "afterany")}
    assert jobs.edges(lab.session, trained.id)["before"] == [
        {"job": str(child.id), "kind": "afterok", "state": "blocked"}
    ]


def test_names_get_versions_as_packs_end(lab: Lab) -> None:
    made = DatasetMade(path="/data/made", manifest_sha256="1" * 64, clips=64, quarantined=0, hours=0.1, bytes=10,
                       media="video", with_audio=64, labels={"class": 2})  # fmt: skip
    for version in (1, 2):
        pack = lab.submit("pack")
        lease = lab.run(pack)
        lab.tell(lease, made)
        lab.finish(lease)
        assert pack.state is JobState.succeeded
        assert lab.submit(dataset="made").spec["dataset"] == f"made@{version}"
