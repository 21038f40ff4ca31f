"""Others' names are understood, and others' networks are refused with the reason."""

import re

import pytest
import torch

from cmac_core.specs.method import Model
from cmac_core.training.errors import UserError
from cmac_core.weights.layouts import recognise
from tests.cmac_core.weights import foreign
from tests.cmac_core.weights.foreign import SMALL, Tensors


def refused(tensors: Tensors, layout: str = "auto") -> UserError:
    with pytest.raises(UserError) as error:
        recognise(tensors, layout)  # type: ignore[arg-type]
    return error.value


def test_gdts_and_selavis_encoders_are_ours_behind_other_names() -> None:
    own = foreign.encoders()
    for layout, tensors in (("gdt", foreign.gdt()), ("selavi", foreign.selavi())):
        found = recognise(tensors, "auto")
        assert (found.layout, found.model.width, found.model.depth) == (layout, 4, 2)
        for modality, weights in own.items():
            assert set(found.encoders[modality]) == set(weights)
            assert all(found.encoders[modality][name].equal(value) for name, value in weights.items())


def test_what_is_no_encoder_is_left_out_and_counted() -> None:
    assert recognise(foreign.gdt(), "auto").left_out == {"audio_network.base.fc": 2, "mlp_v": 8, "mlp_a": 8}
    assert recognise(foreign.selavi(), "auto").left_out == {f"mlp_{side}{n}": 8 for side in "va" for n in range(10)}


def test_the_one_that_asks_may_tell_gdt_from_selavi() -> None:
    single = {name: value for name, value in foreign.gdt().items() if ".fc." not in name}
    assert recognise(single, "auto").layout == "selavi"
    assert recognise(single, "gdt").layout == "gdt"


def test_torchvisions_file_has_a_video_encoder_alone() -> None:
    tensors = foreign.encoders(Model(width=4, depth=1))["video"]
    found = recognise(tensors | {"fc.weight": torch.zeros(400, 32), "fc.bias": torch.zeros(400)}, "torchvision")
    assert list(found.encoders) == ["video"]
    assert (found.model.depth, found.left_out) == (1, {"fc": 2})


def test_files_without_counters_and_in_half_precision_load() -> None:
    old = {
        name: value.half() if value.is_floating_point() else value
        for name, value in foreign.encoders()["video"].items()
        if not name.endswith("num_batches_tracked")
    }
    weights = recognise(old, "auto").encoders["video"]
    assert weights["stem.0.weight"].dtype == torch.float32
    assert weights["stem.1.num_batches_tracked"].item() == 0


def test_xdc_is_refused_for_its_middle_channels() -> None:
    error = refused(foreign.xdc())
    assert "XDC and VMZ" in str(error)
    assert "layer2.0.conv2 has 288, torchvision's and ours 230" in str(error)
    assert "33,165,639 parameters" in str(error)
    assert "eps 1e-3" in str(error)


def test_avid_is_refused_for_its_stem_and_its_sound_network() -> None:
    for tensors in (foreign.avid(), {"conv1.0.weight": torch.zeros(64, 3, 3, 7, 7), "conv1.1.weight": torch.ones(64)}):
        error = refused(tensors)
        assert "AVID" in str(error)
        assert "full convolution of 64x3x3x7x7 with a max-pool" in str(error)


def test_another_layout_than_the_one_asked_for_is_named() -> None:
    assert "these are names of layout gdt, not of torchvision" in str(refused(foreign.gdt(), "torchvision"))


def test_names_of_nobody_are_shown_with_their_shapes() -> None:
    error = refused({"conv1.weight": torch.zeros(64, 3, 7, 7), "fc.bias": torch.zeros(10)})
    assert "2 tensors, the first conv1.weight 64x3x7x7, fc.bias 10: this is no layout that is known" in str(error)
    assert "video_network.base.stem.0.weight" in error.hint


def test_shapes_that_do_not_fit_are_counted_and_the_first_are_named() -> None:
    tensors = foreign.encoders()["video"]
    tensors["layer1.0.conv1.0.0.weight"] = torch.zeros(8, 4, 1, 3, 3)
    del tensors["layer4.1.conv2.1.bias"]
    error = refused(tensors | {"layer9.weight": torch.zeros(1)})
    total = len(foreign.encoders()["video"])
    assert f"3 of {total} tensors do not fit the video encoder (r2plus1d_18, width 4)" in str(error)
    assert "layer4.1.conv2.1.bias is missing; layer9.weight is unknown" in str(error)
    assert re.search(r"layer1.0.conv1.0.0.weight is \(8, 4, 1, 3, 3\), expected \(9, 4, 1, 3, 3\)", str(error))


def test_other_3d_networks_and_encoders_of_two_widths_are_refused() -> None:
    assert "is no r2plus1d_18: it has no stem.3.weight" in str(refused({"stem.0.weight": torch.zeros(64, 3, 3, 7, 7)}))
    mixed = {f"video.{name}": value for name, value in foreign.encoders()["video"].items()}
    mixed |= {f"audio.{name}": value for name, value in foreign.encoders(Model(width=2))["audio"].items()}
    assert "4 (video) and 2 (audio) channels wide" in str(refused(mixed))


def test_weights_that_are_not_finite_are_refused() -> None:
    tensors = foreign.encoders()["video"]
    tensors["stem.0.weight"][0, 0, 0, 0, 0] = torch.nan
    told = f"1 of {len(tensors)} tensors of the video encoder have values that are not finite, first stem.0.weight"
    assert told in str(refused(tensors))


def test_a_described_network_is_built_as_described() -> None:
    tensors = {f"audio.{name}": value for name, value in foreign.encoders()["audio"].items()}
    assert recognise(tensors, "ours", SMALL).model == SMALL
