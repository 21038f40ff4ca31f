"""Whose attention is looked at: a checkpoint's whole query model, and the same model before any training."""

from dataclasses import dataclass
from typing import Any

from cmac_core.data.dataset import PackedDataset
from cmac_core.data.front_end import build_front_end
from cmac_core.evaluation.attention_maps import Attender
from cmac_core.evaluation.showing import Preparation, Showing
from cmac_core.evaluation.subject import lineage_of, mel_of, mel_of_dataset
from cmac_core.objectives.cmac import build_objective
from cmac_core.specs import Attention, Pretrain, RandomInit
from cmac_core.specs.references import CHECKPOINT
from cmac_core.training.checkpoint import TrainedEncoders, load_encoders, load_query
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run


@dataclass(frozen=True)
class AttentionSubject:
    """Ours and untrained, and how clips are made ready for both. `ours` is `random` for a random subject."""

    ours: Attender
    random: Attender
    prepare: Preparation
    pretrain: Pretrain
    lineage: dict[str, Any]


def attention_subject(run: Run, spec: Attention, dataset: PackedDataset) -> AttentionSubject:
    """Load what a spec names. Raises UserError for a checkpoint of one modality, which has no attention."""
    ours: Attender | None = None
    lineage: dict[str, Any]
    if isinstance(spec.checkpoint, RandomInit):
        pretrain = Pretrain(dataset=spec.dataset, preset=spec.preset, model=spec.checkpoint.model)
        mel, lineage = mel_of_dataset(dataset), {"checkpoint": "random_init"}
    else:
        path = run.input(CHECKPOINT)
        trained = load_encoders(path)
        pretrain, mel, lineage = _must_attend(trained), mel_of(trained), lineage_of(trained, path)
        ours = Attender(load_query(path), run.device, spec.precision)
    blank = build_objective(pretrain.model_copy(update={"seed": spec.seed}))
    random = Attender(blank, run.device, spec.precision)
    seconds = spec.geometry.frames / spec.geometry.fps
    showing = Showing(spec.geometry, seconds, pretrain.audio.sample_rate, video=True, audio=True)
    prepare = Preparation(showing, build_front_end(pretrain.audio), mel, pretrain.data, run.device)
    lineage |= {"manifest_sha256": dataset.summary.manifest_sha256, "random_init_seed": spec.seed}
    _say_what_is_missing(run, pretrain)
    return AttentionSubject(ours or random, random, prepare, pretrain, lineage)


def _must_attend(trained: TrainedEncoders) -> Pretrain:
    hint = "Attention maps need a checkpoint of objective cmac."
    if trained.spec is None:
        raise UserError("checkpoint: imported weights are encoders alone, and maps need what grows on them", hint)
    if trained.spec.objective != "cmac":
        made = f"checkpoint: it was trained with objective {trained.spec.objective}"
        raise UserError(f"{made}, so no modality can guide another", hint)
    return trained.spec


def _say_what_is_missing(run: Run, pretrain: Pretrain) -> None:
    if pretrain.loss.lambda_ac == 0:
        run.warn("maps_missing", "the checkpoint was trained with lambda_ac 0: it has no ŝ, only s is shown")
    if not pretrain.contrastive.use:
        run.warn("filters_untrained", "the checkpoint was trained without contrast: g, which makes s, was not trained")
