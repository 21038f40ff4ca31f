"""Where the cells of an encoder's map stand: at the middle of what they see of its input."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmac_core.evaluation.localization import field_centers
from cmac_core.models.r2plus1d import R2Plus1D18
from cmac_core.models.resnet9 import ResNet9


def fields(encoder: nn.Module, clip: torch.Tensor, cell: Sequence[int]) -> list[float]:
    """Along each axis the middle of what one cell's gradient falls on, in samples of the input.

    With all weights alike the gradient has the shape of the receptive field, whatever was learnt.
    """
    with torch.no_grad():
        for weights in encoder.parameters():
            weights.fill_(0.01)
    clip.requires_grad_()
    output = encoder.eval()(clip)[0, 0]
    output[tuple(cell)].backward()
    assert clip.grad is not None
    mass = clip.grad[0].abs().sum(0).double()
    axes = [mass.sum([other for other in range(mass.ndim) if other != axis]) for axis in range(mass.ndim)]
    assert all(axis[0] == axis[-1] == 0 for axis in axes), "the field is cut off at a border"
    return [float((axis * torch.arange(len(axis))).sum() / axis.sum()) for axis in axes]


@pytest.mark.parametrize(("stages", "depth"), [(2, 1), (2, 2), (3, 1)])
def test_a_cell_of_frames_stands_in_the_middle_of_its_field(stages: int, depth: int) -> None:
    encoder = R2Plus1D18(4, None, depth=depth, stages=stages)
    shape, cell = (48, 97, 128), (24 // encoder.steps[0], 48 // encoder.steps[1], 64 // encoder.steps[2])
    found = fields(encoder, torch.ones(1, 3, *shape), cell)
    told = [field_centers(n, step)[i] * n - 0.5 for n, step, i in zip(shape, encoder.steps, cell, strict=True)]
    np.testing.assert_allclose(found, told, atol=1e-3)


@pytest.mark.parametrize("stages", [2, 3])
def test_a_cell_of_sound_stands_in_the_middle_of_its_field(stages: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(F, "max_pool2d", F.avg_pool2d)  # of equal values the maximum is at one place only
    encoder = ResNet9(4, None, stages=stages)
    shape, cell = (257, 197), (128 // encoder.steps[0], 96 // encoder.steps[1])
    found = fields(encoder, torch.ones(1, 1, *shape), cell)
    told = [field_centers(n, step)[i] * n - 0.5 for n, step, i in zip(shape, encoder.steps, cell, strict=True)]
    np.testing.assert_allclose(found, told, atol=1e-3)


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_there_is_a_place_for_every_cell(stages: int) -> None:
    video, audio = R2Plus1D18(2, None, stages=stages), ResNet9(2, None, stages=stages)
    frames, spectrogram = torch.zeros(1, 3, 30, 112, 65), torch.zeros(1, 1, 257, 99)
    for encoder, clip in ((video, frames), (audio, spectrogram)):
        cells = encoder(clip).shape[2:]
        assert [len(field_centers(n, step)) for n, step in zip(clip.shape[2:], encoder.steps, strict=True)] == [*cells]
