"""A recipe or a grid becomes the jobs that METHOD 8 lists, each once, and every mistake is named where it was made."""

from typing import Any

import pytest

from cmac_core.experiments.drafts import BadExperiment
from cmac_core.experiments.expansion import LATER, Plan, expand
from cmac_core.specs import JOB_SPEC, Attention, Pretrain, Probe, RandomInit, Retrieval
from cmac_core.specs.experiment import Experiment

SMALL = {"scale": "small"}
GRID: dict[str, Any] = {
    "base": {"kind": "pretrain", "dataset": "x", "scale": "small"},
    "then": [{"key": "found", "spec": {"kind": "retrieval", "dataset": "x", "scale": "small"}}],
}


def plan(**fields: Any) -> Plan:
    return expand(Experiment.model_validate(fields))


def trained(found: Plan) -> list[Pretrain]:
    return [job.spec for job in found.jobs if isinstance(job.spec, Pretrain)]


def problems(**fields: Any) -> dict[str, str]:
    """Pointers and messages of the refusal."""
    with pytest.raises(BadExperiment) as caught:
        plan(**fields)
    return {one.pointer: f"{one.message} {one.hint or ''}" for one in caught.value.problems}


@pytest.mark.parametrize(("recipe", "pretrainings"), [("table-1", 4), ("figure-4", 6), ("table-2", 5), ("table-3", 4)])
def test_an_ablation_has_its_rows_once_for_each_seed(recipe: str, pretrainings: int) -> None:
    found = plan(recipe=recipe, seeds=[0, 1, 2], **SMALL)
    assert len(trained(found)) == 3 * pretrainings
    assert {spec.seed for spec in trained(found)} == {0, 1, 2}


def test_all_ablations_share_fifteen_pretrainings() -> None:
    found = plan(recipe="all", seeds=[0])
    ablations = [spec for spec in trained(found) if spec.scale == "ablation"]
    assert len(ablations) == 15
    assert {(spec.optim.epochs, spec.optim.batch, spec.data.color_jitter.on) for spec in ablations} == {(50, 64, False)}
    main = [spec for spec in trained(found) if spec.scale == "paper"]
    assert len(main) == 3  # the full method, its sound alone, and the baseline of Table 6
    assert {(spec.optim.epochs, spec.optim.batch, spec.data.color_jitter.on) for spec in main} == {(200, 128, True)}


def test_equal_rows_of_several_tables_are_cells_of_one_job() -> None:
    found = plan(recipe="all", **SMALL)
    full = next(cell for cell in found.cells if cell.name == "table-1/full/0")
    assert [cell.name for cell in found.cells_of(full.job)] == [
        "table-1/full/0", "figure-4/1.5/0", "table-2/cos2/0", "table-3/00/0",
        "table-4/full/0", "table-5/full/0", "table-6/full/0", "figure-5/full/0",
    ]  # fmt: skip
    retrieval = next(cell for cell in found.cells if cell.name == "table-1/full/0/retrieval")
    assert len(found.cells_of(retrieval.job)) == 6


def test_the_full_method_is_the_papers_and_at_a_small_scale_the_one_that_points() -> None:
    for asked, row, preset in (
        ({}, "10", "paper"),
        ({"preset": "paper", **SMALL}, "10", "paper"),
        (SMALL, "00", "mutual"),
    ):
        found = plan(recipe="all", **asked)
        full = next(cell for cell in found.cells if cell.name == "table-1/full/0")
        assert f"table-3/{row}/0" in [cell.name for cell in found.cells_of(full.job)]
        assert {spec.preset for spec in trained(found)} == {preset}


def test_evaluations_wait_for_their_own_pretraining() -> None:
    found = plan(recipe="table-2", seeds=[4, 5], **SMALL)
    for place, job in enumerate(found.jobs):
        if job.parent is None:
            assert isinstance(job.spec, Pretrain)
            continue
        assert job.parent < place
        assert getattr(job.spec, "checkpoint", None) == LATER
        assert found.jobs[job.parent].spec.seed == job.spec.seed
        row = {cell.row for cell in found.cells_of(place)}
        assert row == {cell.row for cell in found.cells_of(job.parent)}


def test_the_row_without_pretraining_looks_at_the_networks_of_the_others_as_initialized() -> None:
    found = plan(recipe="table-1", **SMALL)
    scratch = [found.jobs[cell.job].spec for cell in found.cells if cell.row == "scratch"]
    assert {type(spec) for spec in scratch} >= {Retrieval, Probe}
    for spec in scratch:
        checkpoint = getattr(spec, "checkpoint", None)
        assert isinstance(checkpoint, RandomInit)
        assert checkpoint.model == trained(found)[0].model


def test_what_a_pretraining_has_not_learnt_is_not_evaluated_and_says_why() -> None:
    found = plan(recipe="table-1", **SMALL)
    assert found.skipped["table-1", "single", "audio_probe"] == "single_v has no audio encoder"
    assert found.skipped["table-1", "no_ac", "attention"] == "lambda 0 learns no attention"
    assert ("table-1", "full", "attention") not in found.skipped
    ran = {(cell.row, type(found.jobs[cell.job].spec)) for cell in found.cells}
    assert ("full", Attention) in ran
    assert not {("single", Attention), ("no_ac", Attention), ("scratch", Attention)} & ran


def test_the_toggles_are_those_of_the_paper() -> None:
    found = plan(recipe="table-3")
    toggles = {
        cell.row: (spec.contrastive.wi_neg, spec.contrastive.wi_pos)
        for cell in found.cells
        if isinstance(spec := found.jobs[cell.job].spec, Pretrain)
    }
    assert toggles == {"00": (False, False), "10": (True, False), "01": (False, True), "11": (True, True)}
    lambdas = [spec.loss.lambda_ac for spec in trained(plan(recipe="figure-4"))]
    assert lambdas == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    scales = [(spec.pcf.norm, spec.pcf.scales) for spec in trained(plan(recipe="table-2"))]
    assert scales == [("none", 1), ("softmax", 1), ("cosine", 1), ("cosine", 2), ("cosine", 3)]


def test_set_changes_every_pretraining_or_a_kind_of_evaluation_but_not_what_a_row_is_about() -> None:
    found = plan(recipe="table-1", set={"optim.epochs": 3, "probe.n_clips": 1, "loss.lambda_ac": 1.0}, **SMALL)
    assert {spec.optim.epochs for spec in trained(found)} == {3}
    assert {job.spec.n_clips for job in found.jobs if isinstance(job.spec, Probe)} == {1}
    assert {job.spec.n_clips for job in found.jobs if isinstance(job.spec, Retrieval)} == {3}
    assert [spec.loss.lambda_ac for spec in trained(found)] == [0, 1.0, 0, 1.0]


def test_another_variant_of_the_method_runs_the_same_tables() -> None:
    found = plan(recipe="table-1", preset="projected", **SMALL)
    assert {spec.model.head.shared for spec in trained(found)} == {False}


def test_datasets_are_the_papers_or_those_that_are_named() -> None:
    names = {getattr(job.spec, "dataset", "") for job in plan(recipe="table-6").jobs}
    assert names == {"kinetics400", "esc50", "dcase2013", "dcase2014"}
    own = plan(recipe="table-6", datasets={"pretrain": "k400-train@3", "esc50": "mine"})
    assert {getattr(job.spec, "dataset", "") for job in own.jobs} == {"k400-train@3", "mine", "dcase2013", "dcase2014"}
    assert {getattr(job.spec, "dataset", "") for job in plan(recipe="all", dataset="one").jobs} == {"one"}
    assert {getattr(job.spec, "dataset", "") for job in plan(recipe="table-1", **SMALL).jobs} == {"demo"}


def test_at_a_small_scale_the_test_clips_are_not_trained_on() -> None:
    assert {tuple(spec.where.items()) for spec in trained(plan(recipe="all", **SMALL))} == {(("split", "train"),)}


def test_every_planned_spec_is_what_the_service_takes() -> None:
    for job in plan(recipe="all", seeds=[0, 1]).jobs:
        assert JOB_SPEC.validate_python(job.spec.model_dump(mode="json")) == job.spec
        assert job.spec.queue.labels.keys() >= {"table", "row", "seed"}


def test_a_grid_of_ones_own_is_every_combination() -> None:
    found = plan(**GRID, grid={"loss.lambda_ac": [0.5, 1.5], "optim.lr": [0.01, 0.03, 0.1]}, seeds=[0, 1])
    assert len(trained(found)) == 12
    assert {cell.row for cell in found.cells} >= {"loss.lambda_ac=0.5,optim.lr=0.01", "loss.lambda_ac=1.5,optim.lr=0.1"}
    assert (found.tables[0].columns[0].measure.name, found.tables[0].x) == ("r@1", "")
    assert plan(**GRID, grid={"optim.lr": [0.01, 0.03]}).tables[0].x == "optim.lr"


def test_rows_of_ones_own_may_be_untrained_or_no_pretraining_at_all() -> None:
    rows = [{"key": "a", "set": {"moco.K": 64}}, {"key": "none", "random_init": True}]
    found = plan(**GRID, rows=rows)
    assert [cell.name for cell in found.cells] == ["grid/a/0", "grid/a/0/found", "grid/none/0/found"]
    probe = {"kind": "probe", "modality": "audio", "dataset": "x", "checkpoint": {"random_init": True}}
    own = plan(base=probe, grid={"n_clips": [1, 2]})
    assert (len(own.jobs), own.tables[0].columns[0].measure.name) == (2, "accuracy")


def test_a_grid_trains_what_its_base_alone_would() -> None:
    base = {"kind": "pretrain", "dataset": "x", "scale": "small"}
    (alone,) = trained(plan(base=base, rows=[{"key": "a"}]))
    assert (alone.preset, alone.pcf) == ("mutual", Pretrain(dataset="x", scale="small").pcf)
    assert [spec.preset for spec in trained(plan(base={**base, "preset": "paper"}, rows=[{"key": "a"}]))] == ["paper"]


def test_what_a_grid_trains_small_it_evaluates_small() -> None:
    base = {"kind": "pretrain", "dataset": "x", "scale": "small"}
    then = [{"key": "found", "spec": {"kind": "retrieval", "dataset": "x"}}]
    spec = Experiment.model_validate({"kind": "experiment", "base": base, "rows": [{"key": "a"}], "then": then})
    assert spec.scale == "small"
    assert {job.spec.scale for job in expand(spec).jobs} == {"small"}


@pytest.mark.parametrize("fields", [{"recipe": "table-2", **SMALL}, {**GRID, "grid": {"moco.K": [64, 128]}}])
def test_a_spec_with_every_field_written_out_is_the_same_experiment(fields: dict[str, Any]) -> None:
    spec = Experiment.model_validate({**fields, "resources": {"cpu_slots": 2}})
    again = Experiment.model_validate(spec.model_dump(mode="json"))
    assert [job.spec for job in expand(again).jobs] == [job.spec for job in expand(spec).jobs]
    assert {job.spec.resources.cpu_slots for job in expand(spec).jobs if isinstance(job.spec, Pretrain)} == {2}


def test_an_unknown_path_points_at_what_was_written_with_a_guess() -> None:
    told = problems(recipe="table-1", set={"optim.epohcs": 3, "probe.clips": 1, "optim.lr": -1}, **SMALL)
    assert told["/set/optim.epohcs"] == "no such field did you mean epochs?"
    assert "did you mean n_clips?" in told["/set/probe.clips"]
    assert "greater than 0" in told["/set/optim.lr"]
    told = problems(**GRID, rows=[{"key": "a", "set": {"moco.Q": 1}}])
    assert set(told) == {"/rows/0/set/moco.Q"}
    assert set(problems(**GRID, grid={"optim.batchh": [1]})) == {"/grid/optim.batchh"}
    bad = {"base": {**GRID["base"], "optim": {"lrr": 1}}, "then": [{"key": "a", "spec": {"kind": "retrieval", "k": 0}}]}
    assert set(problems(**bad)) == {"/base/optim/lrr", "/then/0/spec/dataset", "/then/0/spec/k"}
    wrong = {**GRID, "then": [{"key": "a", "spec": {"kind": "retrieval", "dataset": "x", "n_clip": 1}}]}
    assert "did you mean n_clips?" in problems(**wrong)["/then/0/spec/n_clip"]


@pytest.mark.parametrize(
    ("fields", "pointer", "words"),
    [
        ({}, "/recipe", "give a recipe"),
        ({"recipe": "table-1", "grid": {"optim.lr": [1]}}, "/grid", "of your own"),
        ({**GRID, "datasets": {"pretrain": "x"}}, "/datasets", "goes with a recipe"),
        ({**GRID, "rows": [{"key": "a"}], "grid": {"optim.lr": [1]}}, "/grid", "not both"),
        ({**GRID, "rows": [{"key": "a"}, {"key": "b"}, {"key": "a"}]}, "/rows/2/key", "at /rows/0 already"),
        ({**GRID, "then": [*GRID["then"], *GRID["then"]]}, "/then/1/key", "at /then/0 already"),
        ({**GRID, "grid": {"optim.lr": []}}, "/grid/optim.lr", "no values"),
        ({"recipe": "table-1", "set": {"seed": 3}}, "/set/seed", "give seeds"),
        ({"recipe": "table-1", "set": {"dataset": "x"}}, "/set/dataset", "dataset or datasets"),
        ({**GRID, "base": {**GRID["base"], "seed": 1}}, "/base/seed", "give seeds"),
        ({**GRID, "grid": {"seed": [0, 1]}}, "/grid/seed", "give seeds"),
        ({**GRID, "grid": {"optim.lr": [0.1] * 50, "moco.K": [64] * 50}}, "", "5,000 jobs; the most is 2,000"),
        ({"recipe": "all", "seeds": list(range(40)), **SMALL}, "", "the most is 2,000"),
        ({"base": GRID["base"], "rows": [{"key": "a", "random_init": True}]}, "", "makes no jobs"),
        ({**GRID, "then": [{"key": "a", "spec": {"kind": "pretrain", "dataset": "x"}}]}, "/then/0/spec/checkpoint",
         "no such field"),
        ({**GRID, "then": [{"key": "a", "spec": {"kind": "retrieval", "checkpoint": {"random_init": True}}}]},
         "/then/0/spec/checkpoint", "comes from the row"),
        ({"recipe": "table-1", "preset": "papr", **SMALL}, "/preset", "did you mean paper?"),
        ({"recipe": "table-3", "set": {"optim.batch": 7}, **SMALL}, "/set", "the batch must be even"),
    ],
)  # fmt: skip
def test_what_makes_no_experiment_is_named_where_it_was_written(fields: Any, pointer: str, words: str) -> None:
    assert words in problems(**fields)[pointer]
