"""Who is evaluated: a checkpoint's encoders, and beside them the same networks before any training."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from cmac_core.data.dataset import PackedDataset
from cmac_core.data.front_end import build_front_end
from cmac_core.data.manifest import sha256_of
from cmac_core.evaluation.features import View, encoder_view
from cmac_core.evaluation.material import Modality
from cmac_core.evaluation.showing import Preparation, Showing
from cmac_core.specs import AudioFrontEnd, ClipGeometry, ClipSampling, RandomInit
from cmac_core.specs.jobs import Precision
from cmac_core.specs.references import CHECKPOINT, CheckpointReference
from cmac_core.training.checkpoint import TrainedEncoders, load_encoders, random_encoders
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run

OURS, RANDOM = "ours", "random_init"
NO_MEL = (0.0, 1.0)


@dataclass(frozen=True)
class Subject:
    """Encoders of one modality by name (`ours`, `random_init`), and how clips are made ready for them."""

    encoders: dict[str, nn.Module]
    identities: dict[str, dict[str, Any]]  # of each encoder: what it is, for the cache of features
    prepare: Preparation
    lineage: dict[str, Any] = field(default_factory=dict)

    @property
    def of_ours(self) -> str:
        """The name under which our own numbers are found: with a random subject both are one."""
        return OURS if OURS in self.encoders else RANDOM

    def views(self, pools: Sequence[str], precision: Precision) -> list[View]:
        """Features of all encoders, named `ours/gap`, `random_init/gap` and so on."""
        modality: Modality = "video" if self.prepare.showing.video else "audio"
        return [
            encoder_view(name, net, modality, pools, precision, self.identities[name])
            for name, net in self.encoders.items()
        ]


def subject(
    run: Run,
    reference: CheckpointReference,
    modality: Modality,
    dataset: PackedDataset,
    geometry: ClipGeometry,
    seconds: float,
    seed: int,
) -> Subject:
    """Load what a spec names. Raises UserError when it has no encoder of the modality."""
    video, audio = modality == "video", modality == "audio"
    encoders: dict[str, nn.Module] = {}
    if isinstance(reference, RandomInit):
        front_end, pixels, model = AudioFrontEnd(), ClipSampling(), reference.model
        mel = mel_of_dataset(dataset) if audio else NO_MEL
        lineage: dict[str, Any] = {"checkpoint": "random_init"}
    else:
        path = run.input(CHECKPOINT)
        trained = load_encoders(path)
        front_end, pixels, model, mel = trained.front_end, trained.pixels, trained.model, mel_of(trained)
        encoders[OURS] = encoder_of(trained, modality)
        lineage = lineage_of(trained, path)
    encoders[RANDOM] = encoder_of(random_encoders(model, seed), modality)
    showing = Showing(geometry, seconds, front_end.sample_rate, video, audio)
    prepare = Preparation(showing, build_front_end(front_end), mel, pixels, run.device, front_end)
    identities: dict[str, dict[str, Any]] = {
        OURS: {"checkpoint": lineage.get("checkpoint_sha256")},
        RANDOM: {"model": model.model_dump(mode="json"), "seed": seed},
    }
    lineage |= {"manifest_sha256": dataset.summary.manifest_sha256, "random_init_seed": seed}
    on_device = {name: encoder.to(run.device) for name, encoder in encoders.items()}
    return Subject(on_device, identities, prepare, lineage)


def encoder_of(trained: TrainedEncoders, modality: Modality) -> nn.Module:
    """Its encoder of this modality. Raises UserError when it has none."""
    encoder = trained.video if modality == "video" else trained.audio
    if encoder is None:
        made = f"imported from {trained.origin.get('file')} ({trained.origin.get('layout')})"
        if trained.spec is not None:
            made = f"trained with objective {trained.spec.objective}"
        raise UserError(
            f"checkpoint: it was {made}, which has no {modality} encoder",
            "Choose the other modality, or a checkpoint of objective cmac.",
        )
    return encoder


def mel_of(trained: TrainedEncoders) -> tuple[float, float]:
    """Mean and standard deviation that a checkpoint's sound was normalized with; those of single_v have none."""
    if trained.mel_mean is None or trained.mel_std is None:
        return NO_MEL
    return trained.mel_mean, trained.mel_std


def mel_of_dataset(dataset: PackedDataset) -> tuple[float, float]:
    """Mean and standard deviation for encoders that never saw data. Raises UserError when it was not measured."""
    mean, std = dataset.summary.mel_mean, dataset.summary.mel_std
    if mean is None or std is None:
        raise UserError("dataset: its dataset.json has no mel_mean and mel_std", "Pack it again, with its sound.")
    return mean, std


def lineage_of(trained: TrainedEncoders, path: Path) -> dict[str, Any]:
    """Where a checkpoint comes from."""
    spec, sha256 = trained.spec, trained.sha256 or sha256_of(path)
    if spec is None:
        return {"checkpoint_sha256": sha256, "imported": trained.origin}
    return {
        "checkpoint_sha256": sha256,
        "checkpoint_step": trained.step,
        "checkpoint_train_epoch": trained.train_epoch,
        "seed": spec.seed,
        "pretrain": {
            "objective": spec.objective,
            "preset": spec.preset,
            "scale": spec.scale,
            "dataset": spec.dataset,
            "where": spec.where,
            "width": spec.model.width,
            "train_epochs": spec.optim.epochs,
        },
    }
