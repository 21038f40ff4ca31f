"""Attention maps from media files to numbers, pictures and films."""

from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from cmac_core.data.dataset import open_dataset
from cmac_core.data.windows import read_window
from cmac_core.events import Artifact
from cmac_core.training.errors import UserError
from cmac_core.training.run import Run
from tests.cmac_core.jobs.conftest import train
from tests.cmac_core.jobs.small_jobs import artifacts, do, named, relabeled, result, spec, trained, warnings

KEYS = {(m, name) for m in ("video", "audio") for name in ("s", "s_hat")}


@pytest.fixture(scope="module")
def done(small_set: Path, small_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two clips shown, all scored."""
    folder = tmp_path_factory.mktemp("attention")
    return do(folder, trained("attention", limit=2), dataset=small_set, checkpoint=small_checkpoint)


def of_one_clip(run: Run, kind: str) -> list[Artifact]:
    found = artifacts(run, kind)
    return [one for one in found if one.meta["clip"] == found[0].meta["clip"]]


def test_numbers_come_with_the_places_and_times_of_their_cells(done: Run) -> None:
    raw = of_one_clip(done, "attention_raw")
    assert {(one.meta["modality"], one.meta["map"]) for one in raw} == KEYS
    for one in raw:
        with np.load(done.folder / one.path, allow_pickle=False) as file:
            cells = file["map"]
            assert cells.dtype == np.float32
            assert list(cells.shape) == one.meta["shape"]
            assert one.meta["confidence"] == pytest.approx(cells.max() - cells.mean(), abs=1e-6)
            assert one.meta["range"] == pytest.approx([cells.min(), cells.max()])
            assert 0 <= cells.min() <= cells.max() <= 1
            assert not file["silent"]
            axes = ("times_s", "y", "x") if one.meta["modality"] == "video" else ("freqs_hz", "times_s")
            assert [len(file[axis]) for axis in axes] == list(cells.shape)
            assert one.meta["t0_s"] < file["times_s"].min() <= file["times_s"].max() < one.meta["t0_s"] + 1


def test_maps_tell_how_far_guidance_and_prediction_agree(done: Run) -> None:
    cells, told = {}, {}
    for one in of_one_clip(done, "attention_raw"):
        with np.load(done.folder / one.path, allow_pickle=False) as file:
            cells[one.meta["modality"], one.meta["map"]] = file["map"].ravel()
        told.setdefault(one.meta["modality"], set()).add(one.meta["agreement"])
    for modality in ("video", "audio"):
        (agreement,) = told[modality]
        assert agreement == pytest.approx(np.corrcoef(cells[modality, "s"], cells[modality, "s_hat"])[0, 1], abs=1e-4)


def test_each_map_has_a_picture_and_each_clip_a_film(done: Run) -> None:
    pictures = of_one_clip(done, "attention_png")
    assert {(one.meta["modality"], one.meta["map"]) for one in pictures} == KEYS | {("both", "both")}
    for one in pictures:
        with Image.open(done.folder / one.path) as picture:
            picture.load()
            assert picture.format == "PNG"
            assert min(picture.size) > 300
            assert np.asarray(picture.convert("L")).std() > 5
    assert len(of_one_clip(done, "attention_mp4")) == 1


def test_the_film_plays_with_the_sound_of_the_clip(done: Run, small_set: Path) -> None:
    (film,) = of_one_clip(done, "attention_mp4")
    with av.open(str(done.folder / film.path)) as container:
        assert [s.codec_context.name for s in container.streams] == ["h264", "aac"]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
        heard = np.concatenate([f.to_ndarray()[0] for f in container.decode(audio=0)])
    with av.open(str(done.folder / film.path)) as container:
        pictures = [f.to_ndarray(format="gray") for f in container.decode(video=0)]
    assert len(pictures) == 25
    assert np.std([p.mean() for p in pictures]) > 0 or np.abs(pictures[0].astype(int) - pictures[-1]).max() > 20
    data = (done.folder / film.path).read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "a browser would have to load it all first"
    dataset = open_dataset(small_set)
    clip = next(c for c in dataset.clips if c.id == film.meta["clip"])
    window = read_window(dataset.path(clip), clip, film.meta["t0_s"], frames=8, fps=8, sample_rate=24_000)
    assert window.sound is not None
    own = window.sound / 32768
    assert abs(len(heard) - len(own)) <= 2048
    length = min(len(heard), len(own)) - 1024
    assert np.corrcoef(heard[:length], own[:length])[0, 1] > 0.9


def test_scores_stand_beside_their_controls(done: Run) -> None:
    values = result(done).values
    for name in ("pointing_s", "pointing_s_hat", "iou_s", "iou_s_hat"):
        for modality in ("video", "audio"):
            value = named(values, name, modality=modality)
            assert value.random_init is not None
            assert value.chance is not None
            assert 0 < value.chance < 60
    video = {v.name for v in values if v.modality == "video"}
    for control in ("motion", "s_other_sound", "s_hat_untrained_head"):
        assert {f"pointing_{control}", f"iou_{control}", f"on_silent_moving_{control}"} <= video
    audio = {v.name for v in values if v.modality == "audio"}
    assert {"pointing_energy", "pointing_s_other_picture", "pointing_frequency_s"} <= audio
    assert named(values, "pointing_energy").random_init is None
    scores = [one.meta["scores"] for one in of_one_clip(done, "attention_raw")]
    assert all(set(score) == {"pointing", "iou"} for score in scores)


def test_named_clips_are_shown_and_real_ones_are_not_scored(small_set: Path, tmp_path: Path) -> None:
    ids = [clip.id for clip in open_dataset(small_set).clips]
    real = relabeled(small_set, tmp_path / "set")
    (real / "truth.jsonl").unlink()
    run = do(tmp_path / "run", spec("attention", clips=[ids[7], ids[3], ids[7]]), dataset=real)
    assert [one.meta["clip"] for one in artifacts(run, "attention_mp4")] == [ids[7], ids[3]]
    assert {v.name for v in result(run).values} == {"correlation_s_s_hat"}
    assert all(one.meta["scores"] == {} for one in artifacts(run, "attention_raw"))


def test_an_unknown_clip_is_answered_with_those_like_it(small_set: Path, tmp_path: Path) -> None:
    known = open_dataset(small_set).clips[3].id
    with pytest.raises(UserError, match=f"named {known}x") as caught:
        do(tmp_path, spec("attention", clips=[known + "x"]), dataset=small_set)
    assert known in caught.value.hint


def test_a_checkpoint_without_saliency_shows_s_alone_and_says_so(small_set: Path, tmp_path: Path) -> None:
    checkpoint = train(tmp_path / "plain", small_set, loss={"lambda_ac": 0})
    asked = trained("attention", limit=1, score_limit=8)
    run = do(tmp_path / "run", asked, dataset=small_set, checkpoint=checkpoint)
    assert {(one.meta["modality"], one.meta["map"]) for one in artifacts(run, "attention_raw")} == {
        ("video", "s"),
        ("audio", "s"),
    }
    assert "no ŝ" in warnings(run)["maps_missing"]
    assert not [v for v in result(run).values if "s_hat" in v.name]


def test_a_checkpoint_of_one_modality_is_refused(small_set: Path, tmp_path: Path) -> None:
    checkpoint = train(tmp_path / "single", small_set, objective="single_a", preset="paper", loss={"lambda_ac": 0})
    with pytest.raises(UserError, match="objective single_a"):
        do(tmp_path / "run", trained("attention"), dataset=small_set, checkpoint=checkpoint)
