"""Experiments over a real database: one transaction in, a table that fills, and only what failed run again."""

import uuid
from typing import Any

import pytest
from sqlalchemy import event, func, select

from cmac_core.events import Result, Value, Warned
from cmac_core.specs import JOB_SPEC
from cmac_core.specs.experiment import Experiment as Spec
from store import dry_runs, experiment_results, experiments, job_events, jobs, line, notices, quotas
from store.ends import Reason
from store.errors import BadRequest, Forbidden, InvalidSpec, NotFound, QuotaExceeded, SpecProblem, UnknownReference
from store.keys import Principal, Role
from store.states import JobState
from store.tables import Audit, Cell, Experiment, Job, JobEdge
from tests.store.lab import Lab

GRID: dict[str, Any] = {
    "base": {"kind": "pretrain", "dataset": "moving", "scale": "small"},
    "rows": [{"key": "a"}, {"key": "b", "set": {"loss.lambda_ac": 0.5}}],
    "then": [{"key": "found", "spec": {"kind": "retrieval", "dataset": "moving", "scale": "small"}}],
}


def submit(lab: Lab, by: Principal | None = None, **fields: Any) -> Experiment:
    spec = Spec.model_validate(fields or GRID)
    return experiments.submit(lab.session, spec, by or lab.principal)


def job(lab: Lab, experiment: Experiment, cell: str) -> Job:
    """The cell's newest job."""
    row = lab.session.get_one(Cell, (experiment.id, cell), populate_existing=True)
    return lab.session.get_one(Job, row.job_id, populate_existing=True)


def measure(lab: Lab, found: Job, value: float, name: str = "r@1") -> None:
    """Run an evaluation to its end with one value."""
    lease = lab.run(found)
    lab.tell(lease, Result(values=(Value(name=name, value=value, n=20, modality="video", pool="gap"),), protocol={}))
    lab.finish(lease)


def cells(lab: Lab, experiment: Experiment, table: int = 0) -> dict[str, dict[str, Any]]:
    """row/column -> what stands there."""
    view = experiment_results.view(lab.session, experiment.id, lab.principal)
    rows = view["tables"][table]["rows"]
    return {f"{row['key']}/{cell['column']}": cell for row in rows for cell in row["cells"]}


def count(lab: Lab, table: Any) -> int:
    return lab.session.scalar(select(func.count()).select_from(table)) or 0


def test_it_becomes_jobs_edges_and_cells(lab: Lab) -> None:
    experiment = submit(lab, **GRID, seeds=[0, 1])
    assert (count(lab, Job), count(lab, JobEdge), count(lab, Cell)) == (8, 4, 8)
    train, found = job(lab, experiment, "grid/b/1"), job(lab, experiment, "grid/b/1/found")
    assert (train.seed, train.spec["loss"]["lambda_ac"], train.state) == (1, 0.5, JobState.queued)
    assert (found.seed, found.checkpoint_job, found.state) == (1, train.id, JobState.blocked)
    assert found.labels == {
        "experiment": str(experiment.id), "table": "grid", "row": "b", "seed": "1", "evaluation": "found",
    }  # fmt: skip
    assert experiments.counts(lab.session, [experiment.id])[experiment.id] == {"blocked": 4, "queued": 4}


def test_rows_of_several_tables_that_are_equal_share_their_jobs(lab: Lab) -> None:
    experiment = submit(lab, recipe="all", scale="small", dataset="moving")
    assert count(lab, Job) < count(lab, Cell)
    shared = {job(lab, experiment, cell).id for cell in ("table-1/full/0", "figure-4/1.5/0", "table-3/00/0")}
    assert len(shared) == 1


def test_the_table_fills_as_jobs_end(lab: Lab) -> None:
    experiment = submit(lab, **GRID, seeds=[0, 1, 2])
    assert {cell["state"] for cell in cells(lab, experiment).values()} == {"pending"}
    for seed, value in ((0, 50.0), (1, 53.0)):
        lab.succeed(job(lab, experiment, f"grid/a/{seed}"))
        measure(lab, job(lab, experiment, f"grid/a/{seed}/found"), value)
    cell = cells(lab, experiment)["a/found"]
    assert (cell["state"], cell["mean"], cell["n"], cell["of"]) == ("pending", 51.5, 2, 3)
    assert cell["std"] == pytest.approx(2.1213, abs=1e-4)  # of a sample: divided by n - 1
    assert cell["values"] == [{"seed": 0, "value": 50.0}, {"seed": 1, "value": 53.0}]
    lab.finish(lab.run(job(lab, experiment, "grid/a/2")), Reason.data_error, detail="no clips")
    cell = cells(lab, experiment)["a/found"]
    assert (cell["state"], cell["n"], [one["state"] for one in cell["jobs"]][-1]) == ("failed", 2, "cancelled")
    view = experiment_results.view(lab.session, experiment.id, lab.principal)
    assert (view["state"], view["final"]) == ("running", False)
    assert view["tables"][0]["rows"][0]["state"] == "failed"


def test_the_papers_number_stands_beside_ours_with_the_difference(lab: Lab) -> None:
    lab.dataset("ucf101", labels={"class": 101, "split1": 2})
    lab.dataset("hmdb51", labels={"class": 51, "split1": 3})
    lab.dataset("kinetics400")
    experiment = submit(lab, recipe="table-5")
    lab.succeed(job(lab, experiment, "table-5/full/0"))
    measure(lab, job(lab, experiment, "table-5/full/0/ucf101"), 57.9)
    found = cells(lab, experiment)["full/ucf101_r1"]
    assert (found["mean"], found["paper"], found["std"]) == (57.9, 58.4, None)
    assert found["difference"] == pytest.approx(-0.5)
    view = experiment_results.view(lab.session, experiment.id, lab.principal)
    assert {one["method"] for one in view["tables"][0]["published"]} == {"ClipOrder", "SpeedNet", "VCP", "VSP", "GDT"}


def test_a_result_without_the_value_is_no_number(lab: Lab) -> None:
    experiment = submit(lab)
    lab.succeed(job(lab, experiment, "grid/a/0"))
    measure(lab, job(lab, experiment, "grid/a/0/found"), 50.0, name="r@5")
    cell = cells(lab, experiment)["a/found"]
    assert (cell["state"], cell["mean"], cell["why"]) == ("failed", None, "its result has no value r@1")


def test_a_mean_over_folds_is_taken_before_any_fold(lab: Lab) -> None:
    experiment = submit(lab)
    lab.succeed(job(lab, experiment, "grid/a/0"))
    lease = lab.run(job(lab, experiment, "grid/a/0/found"))
    values = [Value(name="r@1", value=v, n=9, fold=fold, split=split, modality="video", pool="gap")
              for v, fold, split in ((10.0, "1", "test"), (20.0, "2", "test"), (15.0, None, "mean"))]  # fmt: skip
    lab.tell(lease, Result(values=tuple(values), protocol={}))
    lab.finish(lease)
    assert cells(lab, experiment)["a/found"]["mean"] == 15.0


def test_a_seeds_number_is_the_mean_over_its_splits_once_all_are_there(lab: Lab) -> None:
    first = GRID["then"][0]
    experiment = submit(lab, **{**GRID, "then": [first, {**first, "key": "more", "spec": first["spec"] | {"k": [1]}}]})
    parts = {"found": "split1", "more": "split2"}
    for cell in lab.session.scalars(select(Cell).where(Cell.evaluation.in_(parts))):
        cell.part, cell.evaluation = parts[cell.evaluation], "found"
    lab.session.flush()
    lab.succeed(job(lab, experiment, "grid/a/0"))
    measure(lab, job(lab, experiment, "grid/a/0/found"), 50.0)
    cell = cells(lab, experiment)["a/found"]
    assert (cell["state"], cell["mean"], cell["n"], cell["of"]) == ("pending", None, 0, 1)
    measure(lab, job(lab, experiment, "grid/a/0/more"), 60.0)
    cell = cells(lab, experiment)["a/found"]
    assert (cell["state"], cell["mean"], cell["n"], len(cell["jobs"])) == ("succeeded", 55.0, 1, 2)


def test_only_what_failed_is_run_again_and_evaluations_follow_the_new_pretraining(lab: Lab) -> None:
    experiment = submit(lab)
    good, bad = (job(lab, experiment, f"grid/{row}/0") for row in "ab")
    lab.succeed(good)
    measure(lab, job(lab, experiment, "grid/a/0/found"), 50.0)
    lab.finish(lab.run(bad), Reason.data_error)
    assert job(lab, experiment, "grid/b/0/found").state is JobState.cancelled
    before = {cell: job(lab, experiment, cell).id for cell in ("grid/a/0", "grid/a/0/found")}
    _, made = experiments.retry(lab.session, experiment.id, lab.principal)
    train, found = job(lab, experiment, "grid/b/0"), job(lab, experiment, "grid/b/0/found")
    assert [one.id for one in made] == [train.id, found.id]
    assert (train.retry_of, train.state) == (bad.id, JobState.queued)
    assert (found.checkpoint_job, found.state) == (train.id, JobState.blocked)
    assert {cell: job(lab, experiment, cell).id for cell in before} == before
    assert experiments.retry(lab.session, experiment.id, lab.principal)[1] == []  # asking again changes nothing
    lab.succeed(train)
    measure(lab, job(lab, experiment, "grid/b/0/found"), 40.0)
    assert cells(lab, experiment)["b/found"]["mean"] == 40.0
    view = experiment_results.view(lab.session, experiment.id, lab.principal)
    assert (view["state"], view["final"], view["counts"]) == ("succeeded", True, {"succeeded": 4})


def test_one_row_can_be_run_again_alone(lab: Lab) -> None:
    experiment = submit(lab)
    experiments.cancel(lab.session, experiment.id, lab.principal)
    _, made = experiments.retry(lab.session, experiment.id, lab.principal, rows=["b"])
    assert {one.labels["row"] for one in made} == {"b"}
    assert job(lab, experiment, "grid/a/0").state is JobState.cancelled
    with pytest.raises(BadRequest, match="no row 'c'; there are a, b"):
        experiments.retry(lab.session, experiment.id, lab.principal, rows=["c"])


def test_a_job_that_is_retried_by_itself_takes_its_cells_along(lab: Lab) -> None:
    experiment = submit(lab)
    bad = job(lab, experiment, "grid/a/0")
    lab.finish(lab.run(bad), Reason.data_error)
    again = jobs.retry(lab.session, bad.id, lab.principal)
    assert job(lab, experiment, "grid/a/0").id == again.id
    _, made = experiments.retry(lab.session, experiment.id, lab.principal)
    assert [one.checkpoint_job for one in made] == [again.id]


def test_cancel_ends_every_job_that_lives_and_asking_again_changes_nothing(lab: Lab) -> None:
    experiment = submit(lab)
    lab.succeed(job(lab, experiment, "grid/a/0"))
    lease = lab.run(job(lab, experiment, "grid/b/0"))
    for _ in range(2):
        experiments.cancel(lab.session, experiment.id, lab.principal)
    states = experiments.counts(lab.session, [experiment.id])[experiment.id]
    assert states == {"succeeded": 1, "stopping": 1, "cancelled": 2} or states == {
        "succeeded": 1, "stopping": 1, "cancelled": 1, "blocked": 1,
    }  # fmt: skip
    lab.finish(lease, Reason.cancelled)
    counted = experiments.counts(lab.session, [experiment.id])[experiment.id]
    assert counted == {"succeeded": 1, "cancelled": 3}
    assert experiments.state_of(counted) is JobState.cancelled


def refused(lab: Lab, kind: type[SpecProblem], **fields: Any) -> dict[str, str]:
    """Pointers and messages; nothing is left behind."""
    with pytest.raises(kind) as caught, lab.session.begin_nested():
        submit(lab, **fields)
    assert (count(lab, Job), count(lab, Experiment), count(lab, Cell)) == (0, 0, 0)
    return {error.pointer: f"{error.message} {error.hint or ''}" for error in caught.value.errors}


def test_every_missing_dataset_is_named_at_once_where_it_would_be_given(lab: Lab) -> None:
    told = refused(lab, UnknownReference, recipe="table-5")
    assert set(told) == {"/datasets/pretrain", "/datasets/ucf101", "/datasets/hmdb51"}
    assert "known: moving" in told["/datasets/ucf101"]
    assert set(refused(lab, UnknownReference, recipe="table-1", scale="small")) == {"/dataset"}


def test_what_does_not_fit_the_dataset_points_into_the_experiment(lab: Lab) -> None:
    told = refused(lab, SpecProblem, recipe="table-5", dataset="moving")
    assert "no column 'split1'" in told["/set"]
    wrong = {**GRID, "then": [{"key": "a", "spec": {"kind": "retrieval", "dataset": "moving", "label": "word"}}]}
    assert "no column 'word'" in refused(lab, SpecProblem, **wrong)["/then/0/spec/label"]
    told = refused(lab, SpecProblem, **{**GRID, "rows": [{"key": "a", "set": {"optim.batch": 20}}]})
    assert "not a multiple" in told["/rows/0/set/optim.batch"]
    assert "/set/optim.lrr" in refused(lab, InvalidSpec, recipe="table-1", scale="small", set={"optim.lrr": 1})
    assert "/queue/project" in refused(lab, UnknownReference, **GRID, queue={"project": "none"})


def test_fewer_clips_than_a_step_takes_are_refused_at_once(lab: Lab) -> None:
    lab.dataset("few", clips=20, with_audio=20, counts={"train": 12, "test": 8})
    told = refused(lab, InvalidSpec, recipe="table-1", scale="small", dataset="few")
    assert "a step takes 16 videos, and few@1 has 12" in told["/set"]


def test_a_limit_is_told_before_anything_is_stored(lab: Lab) -> None:
    quotas.put(lab.session, "user:admin", {"max_queued": 3}, lab.principal)
    with pytest.raises(QuotaExceeded, match="makes 4 jobs and 0 of your jobs are waiting; the limit is 3"):
        submit(lab)


def test_its_jobs_wait_in_the_tables_order(lab: Lab) -> None:
    experiment = submit(lab, **GRID, seeds=[0, 1])
    waiting = {found.id: names for found, names in experiments.jobs_of(lab.session, experiment)}
    order = [waiting[found] for found in line.order(lab.session)]
    assert order == [["grid/a/0"], ["grid/a/1"], ["grid/b/0"], ["grid/b/1"]]
    for cell in ("grid/b/1", "grid/a/0"):
        done = job(lab, experiment, cell)
        lease = lab.run(done)
        lab.save(done, lease)
        lab.finish(lease)
    first = [waiting[found] for found in line.order(lab.session)]
    assert first == [["grid/a/0/found"], ["grid/a/1"], ["grid/b/0"], ["grid/b/1/found"]]


def test_it_belongs_to_its_project_and_its_owner(lab: Lab) -> None:
    experiment = submit(lab)
    stranger = Principal("admin", Role.operator, project="elsewhere")
    for ask in (experiments.get, experiments.cancel, experiments.retry, experiment_results.view):
        with pytest.raises(NotFound):
            ask(lab.session, experiment.id, stranger)
    assert experiments.listed(lab.session, stranger) == []
    eva = lab.someone("eva")
    with pytest.raises(Forbidden):
        experiments.cancel(lab.session, experiment.id, eva)
    assert [one.id for one in experiments.listed(lab.session, eva)] == [experiment.id]
    with pytest.raises(NotFound):
        experiments.get(lab.session, uuid.uuid4(), lab.principal)


def test_a_dry_run_lists_every_job_with_steps_and_gpu_hours_and_stores_nothing(lab: Lab) -> None:
    lab.dataset("kinetics400", clips=230_000, with_audio=224_576)
    for name in ("ucf101", "hmdb51"):
        lab.dataset(name, labels={"class": 51, "split1": 3})
    told = dry_runs.estimate(lab.session, Spec(recipe="table-3"), lab.principal)
    assert (count(lab, Job), count(lab, Experiment), count(lab, JobEdge)) == (0, 0, 0)
    trained = {one["cell"]: one for one in told["jobs"] if one["kind"] == "pretrain"}
    steps = {cell: (one["steps_per_epoch"], one["steps"]) for cell, one in trained.items()}
    assert steps == {
        "table-3/00/0": (3509, 175_450), "table-3/10/0": (3509, 175_450),
        "table-3/01/0": (7018, 350_900), "table-3/11/0": (7018, 350_900),
    }  # fmt: skip
    assert trained["table-3/00/0"]["gpu_hours"] == pytest.approx(9.1e18 / 2.1e14 / 3600, rel=0.01)
    assert trained["table-3/00/0"]["resources"] == {"gpus": None, "cpu_slots": 2}
    estimate = told["estimate"]
    assert estimate["basis"] == "model"
    assert estimate["gpu_hours"]["expected"] == pytest.approx(sum(one["gpu_hours"] or 0 for one in told["jobs"]))
    assert "210 TFLOP/s" in told["assumptions"][0]


def test_a_dry_run_counts_before_the_data_are_packed_and_says_what_is_missing(lab: Lab) -> None:
    told = dry_runs.estimate(lab.session, Spec(recipe="all", seeds=(0,)), lab.principal)
    assert told["pretrainings"] == 18  # 15 ablations and 3 main runs
    assert (told["submittable"], {one["code"] for one in told["problems"]}) == (False, {"unknown_reference"})
    assert "kinetics400 is not packed: counted with the paper's 224,576 clips" in told["assumptions"]
    assert all(one["gpu_hours"] for one in told["jobs"] if one["kind"] == "pretrain")
    own = {**GRID, "base": {**GRID["base"], "dataset": "nowhere"}}
    told = dry_runs.estimate(lab.session, Spec.model_validate(own), lab.principal)
    assert {one["unknown"] for one in told["jobs"] if one["kind"] == "pretrain"} == {"nowhere is not packed"}
    assert told["estimate"]["jobs_without_estimate"] == 2


def test_what_jobs_warn_of_stands_in_the_result_once(lab: Lab) -> None:
    experiment = submit(lab, recipe="table-2", scale="small", dataset="moving", set={"moco.K": 900})
    lease = lab.run(job(lab, experiment, "table-2/cos1/0"))
    lab.tell(lease, Warned(code="slow", message="this is slow"))
    warnings = experiment_results.view(lab.session, experiment.id, lab.principal)["warnings"]
    assert len([text for text in warnings if "900 keys are more than half of the 1,000 clips" in text]) == 1
    assert warnings[-1] == "table-2 cos1 seed 0: this is slow"


def left(lab: Lab, found: Job) -> list[Any]:
    """Columns, events, edges and trail of a job, but for ids and times."""
    own = {"id", "name", "labels", "spec", "spec_sha256", "submitted_at", "updated_at", "waiting"}
    columns = {column.key: getattr(found, column.key) for column in Job.__table__.columns if column.key not in own}
    edges = [(edge.parent, edge.kind) for edge in lab.session.scalars(select(JobEdge).filter_by(child=found.id))]
    history = [(one.seq, one.type, one.actor, one.data) for one in job_events.after(lab.session, found.id)]
    trail = lab.session.scalars(select(Audit).where(Audit.target == str(found.id)))
    return [columns, edges, history, [(one.principal, one.action, sorted(one.after or {})) for one in trail]]


def test_a_job_of_an_experiment_leaves_what_one_submitted_alone_leaves(lab: Lab) -> None:
    experiment = submit(lab)
    for cell in ("grid/a/0", "grid/a/0/found"):
        ours = job(lab, experiment, cell)
        alone = jobs.submit(lab.session, JOB_SPEC.validate_python(ours.spec), lab.principal)
        assert left(lab, lab.again(ours)) == left(lab, alone)


def test_listeners_hear_of_every_job_of_it(open_lab: Lab) -> None:
    with notices.Listener(notices.QUEUE, notices.JOBS) as listener:
        experiment = submit(open_lab)
        open_lab.session.commit()
        heard = list(iter(lambda: listener.wait(2.0), []))
    told = [(notice.channel, notice.payload) for some in heard for notice in some]
    members = [(notices.JOBS, str(found.id)) for found, _ in experiments.jobs_of(open_lab.session, experiment)]
    assert sorted(told) == sorted([*members, (notices.QUEUE, "")])


EVALUATIONS: dict[str, Any] = {
    "base": {"kind": "retrieval", "dataset": "moving", "scale": "small"},
    "rows": [{"key": "a"}, {"key": "b", "set": {"n_clips": 3}}],
}


@pytest.mark.parametrize("named", ["none", "id", "job"])
def test_many_jobs_are_one_transaction_of_as_many_statements_as_few(lab: Lab, named: str) -> None:
    trained = lab.submit()
    lab.succeed(trained)
    checkpoint = {"id": {"id": str(trained.resume_checkpoint)}, "job": {"job": str(trained.id)}}.get(named)
    fields = GRID if checkpoint is None else EVALUATIONS | {"base": EVALUATIONS["base"] | {"checkpoint": checkpoint}}
    of: list[list[str]] = []
    event.listen(
        lab.session.connection(), "before_cursor_execute", lambda *told: of[-1].append(told[2]) if of else None
    )
    for seeds in ([50, 51], list(range(40))):
        lab.session.expunge_all()
        of.append([])
        submit(lab, **fields, seeds=seeds)
    few, many = of
    assert len(many) == len(few) < 40, [text[:80] for text in many]
    assert not [text for text in many if text.startswith("COMMIT")]
