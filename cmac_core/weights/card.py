"""The model card that lies beside an export, as far as a run alone can tell; a service adds the evaluations."""

from typing import Any

from cmac_core.model_card import ModelCard
from cmac_core.specs import Pretrain
from cmac_core.specs.differences import differences
from cmac_core.training.run import Run
from cmac_core.weights.notes import Notes

CARD_FILE = "model-card.md"


def publish_card(run: Run, card: ModelCard) -> None:
    """Leave it as an artifact."""
    path = run.folder / "artifacts" / CARD_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(card.markdown(), encoding="utf-8")
    run.artifact(CARD_FILE, "model_card", "text/markdown; charset=utf-8", path)


def trained_card(spec: Pretrain, notes: Notes, parameters: dict[str, int]) -> ModelCard:
    """Of a pretraining's last checkpoint."""
    origin = notes.origin
    return ModelCard(
        title=spec.name or f"CMAC encoders ({spec.dataset})",
        about=networks(notes, parameters),
        data={"dataset": spec.dataset, "manifest": origin["dataset_manifest"], "only clips with": spec.where},
        settings={
            "objective": spec.objective,
            "preset": spec.preset,
            "scale": spec.scale,
            "seed": spec.seed,
            "train_epochs": origin["train_epochs"],
            "steps": origin["step"],
            "started from": origin["init"],
        },
        code=origin["versions"],
        changed=differences(spec.model_dump(mode="json")),
    )


def imported_card(name: str, notes: Notes, parameters: dict[str, int], versions: dict[str, str]) -> ModelCard:
    """Of weights made elsewhere: where they were found, and nothing that nobody told."""
    origin = notes.origin
    return ModelCard(
        title=name or f"Imported encoders ({origin['file']})",
        about=networks(notes, parameters),
        data={"origin": "imported; the file does not say what it was trained on, unless told below"},
        settings={"layout": origin["layout"], "file": origin["file"], "sha256": origin["sha256"], "of": origin["of"]},
        code={"imported by": versions},
    )


def networks(notes: Notes, parameters: dict[str, int]) -> dict[str, Any]:
    """The encoders and what they were shown."""
    model = notes.model
    names = {
        "video": f"{model.video}, depth {model.depth}, {model.stages} stages",
        "audio": f"{model.audio}, {model.stages} stages",
    }
    told: dict[str, Any] = {
        f"{modality} encoder": f"{names[modality]}, width {model.width}, {count:,} parameters"
        for modality, count in parameters.items()
    }
    if "video" in parameters:
        told["frames"] = f"(x - {notes.pixels.mean}) / {notes.pixels.std} of RGB in 0 to 1"
    if "audio" in parameters:
        front = notes.audio
        told["sound"] = (
            f"front end {front.frontend}, {front.n_mels} bands at {front.sample_rate} Hz, n_fft {front.n_fft}"
        )
        told["pictures of sound"] = f"(x - {notes.mel.mean}) / {notes.mel.std}"
    return told
