"""A spec is read strictly, filled in by its dials, and survives being stored."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from cmac_core.specs import JOB_SPEC, Pretrain, Retrieval
from cmac_core.specs.jobs import KINDS

MINIMAL = {
    "pack": {"kind": "pack", "dataset": "x", "source": {"path": "."}},
    "import": {"kind": "import", "source": {"path": "weights.pt"}},
    "pretrain": {"kind": "pretrain", "dataset": "x"},
    "retrieval": {"kind": "retrieval", "dataset": "x", "checkpoint": {"random_init": True}},
    "probe": {"kind": "probe", "modality": "audio", "dataset": "x", "checkpoint": {"random_init": True}},
    "attention": {"kind": "attention", "dataset": "x", "checkpoint": {"random_init": True}},
    "finetune": {"kind": "finetune", "dataset": "x", "checkpoint": {"random_init": True}},
}


def test_the_defaults_are_the_papers() -> None:
    spec = Pretrain(dataset="k400@1", preset="paper")
    assert (spec.optim.lr, spec.optim.momentum, spec.optim.weight_decay) == (0.01, 0.9, 1e-5)
    assert (spec.optim.batch, spec.optim.epochs, spec.optim.warmup_epochs) == (128, 200, 10)
    assert (spec.moco.K, spec.moco.m, spec.contrastive.tau) == (15_000, 0.999, 0.07)
    assert (spec.loss.lambda_ac, spec.pcf.norm, spec.pcf.scales) == (1.5, "cosine", 2)
    assert (spec.data.crop, spec.data.seconds, spec.audio.n_mels) == (128, 1.0, 257)
    assert (spec.model.channels, spec.model.head.dim) == (512, 256)
    assert (spec.model.g_kernel, spec.model.g_relu, spec.model.head.type, spec.model.head.bias) == (
        1,
        False,
        "linear",
        True,
    )
    assert (spec.pcf.fuse, spec.pcf.pool, spec.pcf.kappa_per_scale) == ("mean", ("time", "space"), False)
    assert (spec.pcf.target_grad, spec.pcf.source, spec.loss.ac_reduction) == ("stop", "query", "sum")
    assert (spec.moco.key_bn, spec.moco.inbatch_negatives, spec.model.bn) == ("shuffle", False, "group")
    assert (spec.optim.warmup_multiplier, spec.optim.schedule, spec.optim.wd_exclude_norm) == (1, "constant", False)
    assert (spec.single.pair, spec.loss.ac_share, spec.loss.ac_weight.video) == ("two_clips", None, 1)


def test_every_kind_has_an_example_here() -> None:
    assert set(MINIMAL) == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("preset", ["paper", "projected", "mutual", "small"])
@pytest.mark.parametrize("scale", ["paper", "ablation", "small"])
def test_a_stored_spec_reads_back_as_itself(kind: str, preset: str, scale: str) -> None:
    spec = JOB_SPEC.validate_python(MINIMAL[kind] | {"preset": preset, "scale": scale})
    assert JOB_SPEC.validate_json(spec.model_dump_json()) == spec


def test_what_the_author_wrote_wins_over_a_dial() -> None:
    spec = JOB_SPEC.validate_python(MINIMAL["pretrain"] | {"scale": "small", "optim": {"batch": 24}})
    assert isinstance(spec, Pretrain)
    assert (spec.optim.batch, spec.optim.epochs, spec.data.frames) == (24, 16, 8)


def test_a_kind_need_not_be_named_where_its_class_is() -> None:
    assert Pretrain(dataset="x", preset="projected").pcf.space == "projected"
    assert Pretrain(dataset="x", preset="projected") == JOB_SPEC.validate_python(
        MINIMAL["pretrain"] | {"preset": "projected"}
    )


def test_small_is_the_papers_method_at_a_small_scale() -> None:
    short, long = (
        JOB_SPEC.validate_python(MINIMAL["pretrain"] | dials)
        for dials in ({"preset": "small"}, {"preset": "paper", "scale": "small"})
    )
    assert short == long


def test_dials_count_however_a_spec_is_made() -> None:
    """In Python nobody writes the kind: the class says it."""
    made = Pretrain(dataset="x", preset="projected", scale="small")
    assert made == JOB_SPEC.validate_python(MINIMAL["pretrain"] | {"preset": "projected", "scale": "small"})
    assert (made.model.width, made.pcf.space) == (8, "projected")


def test_a_random_network_has_the_size_of_its_scale() -> None:
    small, wide, paper = (
        JOB_SPEC.validate_python(MINIMAL["retrieval"] | changes)
        for changes in (
            {"scale": "small"},
            {"scale": "small", "checkpoint": {"random_init": True, "model": {"width": 16}}},
            {},
        )
    )
    widths = [spec.checkpoint.model.width for spec in (small, wide, paper)]  # type: ignore[union-attr]
    assert widths == [8, 16, 64]


def test_the_ablation_scale_is_the_papers_ablation_setting() -> None:
    spec = JOB_SPEC.validate_python(MINIMAL["pretrain"] | {"scale": "ablation"})
    assert isinstance(spec, Pretrain)
    assert (spec.optim.epochs, spec.optim.batch, spec.model.bn_group) == (50, 64, 8)
    assert not spec.data.color_jitter.on


def test_a_spec_does_not_change() -> None:
    with pytest.raises(ValidationError):
        Pretrain(dataset="x").seed = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"data": {"crop": 200}}, "short_side"),
        ({"loss": {"lambda_ac": 0}, "contrastive": {"use": False}}, "nothing to learn"),
        ({"contrastive": {"wi_pos": True}, "optim": {"batch": 7}}, "even"),
        ({"pcf": {"space": "projected"}, "contrastive": {"use": False}}, "projection heads"),
        ({"loss": {"ramp": {"start": 3, "end": 1}}}, "larger than start"),
        ({"loss": {"ramp": {"by": "contrast"}}}, "share of chance"),
        ({"audio": {"n_fft": 256}}, "shorter than the window"),
        ({"resources": {"gpus": 1, "cpu_slots": 1}}, "not both"),
        ({"optim": {"lr": float("nan")}}, "finite"),
        ({"data": {"mean": [0.4, 0.4]}}, "Field required"),
        ({"init": {"random_init": True}}, "leave it out"),
        ({"pcf": {"space": "projected"}, "model": {"head": {"type": "mlp2"}}}, "type linear"),
        ({"pcf": {"source": "key"}, "contrastive": {"use": False}}, "choose query"),
        ({"pcf": {"source": "key", "target_grad": "flow"}}, "no gradient"),
        ({"loss": {"ac_share": 0.1}, "contrastive": {"use": False}}, "share of L_cl"),
        ({"model": {"head": {"type": "gdt"}, "bn_group": 1}}, "two clips or more"),
        ({"optim": {"schedule": "step", "epochs": 50}}, "needs one below epochs, which is 50"),
        ({"optim": {"milestones": [160, 120]}}, "must rise"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(change: dict[str, object], word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        JOB_SPEC.validate_python(MINIMAL["pretrain"] | {"preset": "paper"} | change)


def test_a_split_goes_one_way() -> None:
    with pytest.raises(ValidationError, match="one of column, folds and seeded"):
        Retrieval.model_validate(MINIMAL["retrieval"] | {"split": {"folds": "fold", "seeded": 0.8}})


def test_reading_specs_loads_no_torch() -> None:
    code = "import sys, cmac_core.specs, cmac_core.events, cmac_core.data.manifest; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"gpus": 3, "nodes": 2}, "gpus: 3 do not make equal parts on 2 nodes; give 2 or 4"),
        ({"cpu_slots": 1, "nodes": 2}, "cpu_slots: 1 do not make equal parts on 2 nodes; give 2"),
        ({"cpu_slots": 2, "gpu_model": "H200"}, "gpu_model: CPU slots have none"),
    ],
)
def test_parts_of_a_training_are_equal_and_slots_have_no_model(asked: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        JOB_SPEC.validate_python(MINIMAL["pretrain"] | {"resources": asked})
