import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.branch import Branch, Modality, filter_head, projection_head, saliency_head
from cmac_core.specs.method import Head, Model

BOTH = ("video", "audio")


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_paper_has_its_numbers_of_parameters() -> None:
    with torch.device("meta"):
        query = Branch(Model(), BOTH, heads=True, saliency=True)
        key = Branch(Model(), BOTH, heads=True, saliency=False)
    assert parameters(query.filters["video"]) == parameters(query.filters["audio"]) == 263_168
    assert parameters(query.heads) == 131_328
    assert parameters(query.saliency["video"]) == 3_539_713
    assert parameters(query.saliency["audio"]) == 1_180_417
    assert parameters(query) == 41_577_439
    assert parameters(key) == 36_857_309


def test_only_what_is_asked_for_is_built() -> None:
    video = Branch(Model(width=2), ("video",), heads=False, saliency=False)
    assert {name.split(".")[0] for name, _ in video.named_parameters()} == {"encoders", "filters"}
    assert not any("audio" in name for name, _ in video.named_parameters())


def test_separate_heads_are_two() -> None:
    branch = Branch(Model(width=2, head=Head(shared=False, dim=5)), BOTH, heads=True, saliency=False)
    assert set(branch.heads) == {"video", "audio"}
    kernel = torch.randn(3, 16)
    assert not torch.equal(branch.project("video", kernel), branch.project("audio", kernel))


def test_a_side_says_filter_embedding_and_saliency() -> None:
    torch.manual_seed(0)
    branch = Branch(Model(width=2, head=Head(dim=5)), BOTH, heads=True, saliency=True)
    outputs = branch(torch.randn(4, 3, 8, 32, 32), torch.randn(4, 1, 64, 48))
    video = outputs.sides()["video"]
    assert video.filtered.shape == (4, 16, 1, 2, 2)
    torch.testing.assert_close(video.kernel, video.filtered.mean((2, 3, 4)))
    assert video.embedding is not None
    torch.testing.assert_close(video.embedding.norm(dim=1), torch.ones(4))
    assert video.saliency is not None
    assert video.saliency.shape == (4, 1, 2, 2)
    assert outputs.sides()["audio"].filtered.shape == (4, 16, 2, 2)


def test_under_autocast_what_is_compared_stays_in_full_precision() -> None:
    branch = Branch(Model(width=2, head=Head(dim=5)), BOTH, heads=True, saliency=True)
    with torch.autocast("cpu", torch.bfloat16):
        video = branch(torch.randn(2, 3, 4, 32, 32), None).video
    assert video.filtered.dtype == torch.bfloat16
    assert (video.kernel.dtype, video.embedding.dtype, video.saliency.dtype) == (torch.float32,) * 3


def test_saliency_starts_unsaturated() -> None:
    """Kaiming's weights in the last convolution would have a spread of 1.4 and close the sigmoid."""
    torch.manual_seed(0)
    for modality, cells in (("video", (4, 8, 8)), ("audio", (9, 4))):
        head = saliency_head(modality, Model())
        prediction = head(torch.randn(4, 512, *cells).relu()).sigmoid()
        assert torch.all(head[-1].bias == 0)
        assert 0.05 < prediction.std() < 0.2
        assert 0.1 < prediction.min() < prediction.max() < 0.9


def test_filters_have_no_relu() -> None:
    assert (filter_head("audio", Model(width=2))(torch.randn(4, 16, 3, 3)) < 0).any()


@pytest.mark.parametrize(("modality", "taps"), [("video", 27), ("audio", 9)])
def test_filters_may_look_around_and_may_be_positive(modality: Modality, taps: int) -> None:
    with torch.device("meta"):
        assert parameters(filter_head(modality, Model(g_kernel=3))) == taps * 512 * 512 + 2 * 512  # 7.1 M for video
    torch.manual_seed(0)
    x = torch.randn(3, 16, *{"video": (2, 4, 4), "audio": (4, 4)}[modality])
    g = filter_head(modality, Model(width=2, g_kernel=3, g_relu=True)).eval()
    convolve = {"video": F.conv3d, "audio": F.conv2d}[modality]
    expected = convolve(x, g[0].weight, padding=1) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(g(x), expected.clamp_min(0))
    plain = filter_head(modality, Model(width=2, g_relu=True))
    assert plain(x).min() == 0


def test_heads_are_one_layer_or_two() -> None:
    torch.manual_seed(0)
    kernel = torch.randn(4, 16)
    two = projection_head(Model(width=2, head=Head(dim=5, type="mlp2")))
    first, last = ({name: p.detach().numpy() for name, p in two[i].named_parameters()} for i in (0, 2))
    hidden = np.maximum(kernel.numpy() @ first["weight"].T + first["bias"], 0)
    expected = hidden @ last["weight"].T + last["bias"]
    np.testing.assert_allclose(two(kernel).detach().numpy(), expected, rtol=1e-4, atol=1e-5)
    bare = projection_head(Model(width=2, head=Head(dim=5, bias=False)))
    np.testing.assert_allclose(bare(kernel).detach(), kernel @ bare.weight.detach().T, rtol=1e-4, atol=1e-5)
    assert [name for name, _ in bare.named_parameters()] == ["weight"]


def test_gdts_head_normalises_drops_out_and_is_itself_in_evaluation() -> None:
    torch.manual_seed(0)
    head = projection_head(Model(width=2, bn_group=2, head=Head(dim=5, type="gdt")))
    kernel = torch.randn(4, 16)
    assert not torch.equal(head(kernel), head(kernel))  # dropout
    assert 0.2 < (head[3](torch.ones(10_000)) == 0).float().mean() < 0.4
    head.eval()
    first, norm, last = head[0].weight, head[1], head[4]
    hidden = (kernel @ first.T - norm.running_mean) / (norm.running_var + 1e-5).sqrt()
    torch.testing.assert_close(head(kernel), hidden.clamp_min(0) @ last.weight.T + last.bias)
    assert head[0].bias is None


def test_without_groups_every_batch_norm_is_one() -> None:
    branch = Branch(Model(width=2, bn="sync", head=Head(type="gdt")), BOTH, heads=True, saliency=True)
    assert {part.group for part in branch.modules() if isinstance(part, GroupedBatchNorm)} == {None}
