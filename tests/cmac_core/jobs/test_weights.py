"""Weights of elsewhere become checkpoints; what we export comes back as it was."""

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torchvision.models.video import R2Plus1D_18_Weights

from cmac_core.events import Artifact, Saved, read
from cmac_core.specs import JOB_SPEC
from cmac_core.training.checkpoint import TrainedEncoders, load_encoders
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run
from cmac_core.weights.reading import read_weights
from tests.cmac_core.jobs.small_jobs import artifacts, do, named, result, trained, warnings
from tests.cmac_core.weights import foreign

EXPORT = "artifacts/encoders.safetensors"
FRAMES = torch.randn(1, 3, 7, 36, 32, generator=torch.Generator().manual_seed(1))
PICTURE = torch.randn(1, 1, 65, 47, generator=torch.Generator().manual_seed(2))


def imported(folder: Path, file: Path, **fields: Any) -> Run:
    spec = JOB_SPEC.validate_python({"kind": "import", "source": {"path": file.name}, **fields})
    return do(folder, spec, weights=file)


def state_of(run: Run) -> Path:
    """The checkpoint that a run left."""
    return max(run.folder.glob("checkpoints/*/state.pt"))


def saved(folder: Path, body: Any) -> Path:
    torch.save(body, folder / "weights.pth")
    return folder / "weights.pth"


def last_map(network: nn.Module, clips: torch.Tensor) -> torch.Tensor:
    """The last block's map of one of torchvision's networks."""
    maps: list[torch.Tensor] = []
    hook = network.get_submodule("layer4").register_forward_hook(lambda _, __, y: maps.append(y))
    with torch.no_grad():
        network(clips)
    hook.remove()
    return maps[0]


def of(encoders: TrainedEncoders) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    with torch.no_grad():
        return tuple(  # type: ignore[return-value]
            net and net(clips) for net, clips in ((encoders.video, FRAMES), (encoders.audio, PICTURE))
        )


def test_torchvisions_network_gives_the_same_features_as_a_checkpoint(tmp_path: Path) -> None:
    theirs = foreign.torchvision_video()
    run = imported(tmp_path / "run", saved(tmp_path, theirs.state_dict()), layout="torchvision")
    ours = load_encoders(state_of(run))
    video, audio = of(ours)
    torch.testing.assert_close(video, last_map(theirs, FRAMES), rtol=1e-5, atol=1e-5)
    assert audio is None
    shown = R2Plus1D_18_Weights.KINETICS400_V1.transforms()
    assert (list(ours.pixels.mean), list(ours.pixels.std)) == (shown.mean, shown.std)  # type: ignore[arg-type]
    assert named(result(run).values, "parameters", modality="video").value == 31_300_125
    assert warnings(run) == {
        "left_out": "not part of an encoder, and left out: fc (2)",
        "one_encoder": "the file has no audio encoder",
    }


def test_a_gdt_file_gives_both_encoders_and_its_front_end(tmp_path: Path) -> None:
    video, audio = foreign.torchvision_video(), foreign.torchvision_audio()
    model = {f"video_network.base.{name}": value for name, value in video.state_dict().items() if "fc" not in name}
    model |= {f"audio_network.base.{name}": value for name, value in audio.state_dict().items()}
    model |= {name: value for name, value in foreign.gdt().items() if name.startswith("mlp")}
    body = {"model": foreign.wrapped(model), "epoch": 201, "args": argparse.Namespace(lr=0.01)}
    run = imported(tmp_path / "run", saved(tmp_path, body))
    ours = load_encoders(state_of(run))
    found = of(ours)
    torch.testing.assert_close(found[0], last_map(video, FRAMES), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found[1], last_map(audio, PICTURE), rtol=1e-5, atol=1e-5)
    assert (ours.front_end.frontend, ours.front_end.n_mels) == ("gdt", 40)
    assert (ours.mel_mean, ours.mel_std) == (1.93, 17.89)
    assert "40 bands" in warnings(run)["front_end_assumed"]
    assert ours.origin["left_out"] == {"audio_network.base.fc": 2, "mlp_v": 8, "mlp_a": 8}
    assert result(run).lineage["imported"]["file"] == "weights.pth"
    assert result(run).protocol["layout"] == "gdt"


def test_the_author_of_the_spec_may_know_better_what_was_listened_to(tmp_path: Path) -> None:
    file = saved(tmp_path, foreign.selavi())
    assumed = load_encoders(state_of(imported(tmp_path / "a", file)))
    assert (assumed.front_end.n_mels, assumed.mel_mean, assumed.mel_std) == (257, 0.0, 1.0)
    run = imported(tmp_path / "b", file, audio={"n_mels": 80}, mel={"mean": -4, "std": 3})
    told = load_encoders(state_of(run))
    assert (told.front_end.frontend, told.front_end.n_mels, told.mel_mean, told.mel_std) == ("mel", 80, -4.0, 3.0)
    assert "front_end_assumed" not in warnings(run)


def test_a_refused_file_leaves_nothing(tmp_path: Path) -> None:
    file = saved(tmp_path, foreign.avid())
    with pytest.raises(UserError, match="AVID"):
        imported(tmp_path / "run", file)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"events.jsonl"}


def test_an_export_comes_back_to_the_bit(small_checkpoint: Path, tmp_path: Path) -> None:
    job = small_checkpoint.parents[2]
    run = imported(tmp_path / "run", job / EXPORT, layout="ours")
    before, after = load_encoders(small_checkpoint), load_encoders(state_of(run))
    for one, other in zip(of(before), of(after), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert (after.model, after.front_end) == (before.model, before.front_end)
    assert (after.mel_mean, after.mel_std) == (before.mel_mean, before.mel_std)
    assert after.origin["of"]["objective"] == "cmac"
    assert after.origin["of"]["train_epochs"] == 1.0
    again = imported(tmp_path / "again", small_checkpoint, layout="ours")
    kept, straight = read_weights(run.folder / EXPORT), read_weights(again.folder / EXPORT)
    assert all(kept.tensors[name].equal(value) for name, value in straight.tensors.items())


def test_an_export_has_torchvisions_names_and_says_what_it_is(small_checkpoint: Path) -> None:
    job = small_checkpoint.parents[2]
    with safe_open(job / EXPORT, framework="pt") as file:
        names, said = list(file.keys()), file.metadata()
    notes = json.loads(said.pop("cmac_lab"))
    assert {name.split(".")[0] for name in names} == {"video", "audio"}
    assert "video.layer2.0.downsample.0.weight" in names
    assert said == {}
    assert notes["format"] == "cmac-lab/encoders/1"
    assert notes["model"]["width"] == 2
    assert notes["origin"]["seed"] == 0
    (told,) = [event for event in read(job)[0] if isinstance(event, Artifact) and event.kind == "encoders"]
    assert told.meta == {
        "step": int(small_checkpoint.parent.name.removeprefix("step-")),
        "encoders": ["audio", "video"],
    }


def test_an_export_of_ours_without_notes_needs_the_scale_of_its_sound(tmp_path: Path) -> None:
    own = foreign.encoders()
    file = saved(tmp_path, {f"{kind}.{name}": value for kind in own for name, value in own[kind].items()})
    with pytest.raises(UserError, match=r"mel: weights\.pth has a sound encoder and does not say"):
        imported(tmp_path / "run", file)
    assert load_encoders(state_of(imported(tmp_path / "b", file, mel={"mean": -8, "std": 4}))).mel_mean == -8.0


def test_imported_encoders_are_evaluated(small_set: Path, tmp_path: Path) -> None:
    checkpoint = state_of(imported(tmp_path / "import", saved(tmp_path, foreign.selavi())))
    probe = trained("probe", modality="audio", n_clips=1, seconds=0.5, l2=[1e-2], inner_folds=2)
    run = do(tmp_path / "probe", probe, dataset=small_set, checkpoint=checkpoint)
    assert named(result(run).values, "accuracy").n == 12
    assert result(run).lineage["imported"]["layout"] == "selavi"
    with pytest.raises(UserError, match="imported weights are encoders alone"):
        do(tmp_path / "maps", trained("attention", limit=1), dataset=small_set, checkpoint=checkpoint)


def test_an_encoder_that_is_not_there_is_not_evaluated(small_set: Path, tmp_path: Path) -> None:
    checkpoint = state_of(imported(tmp_path / "import", saved(tmp_path, foreign.encoders()["video"])))
    probe = trained("probe", modality="audio", n_clips=1, seconds=0.5, l2=[1e-2], inner_folds=2)
    with pytest.raises(UserError, match=r"imported from weights.pth \(torchvision\), which has no audio encoder"):
        do(tmp_path / "probe", probe, dataset=small_set, checkpoint=checkpoint)


def test_the_checkpoint_is_told_and_described(tmp_path: Path) -> None:
    run = imported(tmp_path / "run", saved(tmp_path, foreign.gdt()), name="GDT | K400")
    (told,) = [event for event in read(run.folder)[0] if isinstance(event, Saved)]
    assert (told.step, told.kind, told.path) == (0, "weights", "checkpoints/step-00000000/state.pt")
    (card,) = artifacts(run, "model_card")
    text = (run.folder / card.path).read_text()
    assert text.startswith("# GDT \\| K400\n")
    assert "- layout: gdt" in text
    assert "video encoder: r2plus1d_18, depth 2, 4 stages, width 4" in text
