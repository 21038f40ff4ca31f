"""For evaluation batch norm's scale and shift lie in the convolutions, and the map is the same."""

import pytest
import torch
from torch import nn

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.encoders import build_audio, build_video
from cmac_core.models.folding import without_norms
from cmac_core.specs.method import Model

CLIPS = {"video": (4, 3, 8, 32, 32), "audio": (4, 1, 65, 48)}


@pytest.mark.parametrize("modality", ["video", "audio"])
@pytest.mark.parametrize("width", [4, 32])
def test_an_encoder_without_norms_makes_the_same_map(modality: str, width: int) -> None:
    torch.manual_seed(0)
    model = Model(width=width, bn_group=2)
    encoder: nn.Module = build_video(model) if modality == "video" else build_audio(model)
    clips = torch.randn(CLIPS[modality])
    with torch.no_grad():
        for part in encoder.modules():
            if isinstance(part, GroupedBatchNorm):
                part.weight.uniform_(0.5, 2)
                part.bias.uniform_(-1, 1)
        encoder.train()(clips)
        before = {name: value.clone() for name, value in encoder.state_dict().items()}
        folded = without_norms(encoder.eval())
        wanted = encoder(clips)
        assert float((folded(clips) - wanted).norm() / wanted.norm()) < 1e-5
    assert not [part for part in folded.modules() if isinstance(part, GroupedBatchNorm)]
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())


def test_a_network_in_training_is_not_folded() -> None:
    with pytest.raises(AssertionError):
        without_norms(build_audio(Model(width=2, bn_group=2)).train())
