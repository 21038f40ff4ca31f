"""Gradients of Eqs. 4, 6 and 7 against finite differences, in double precision."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from cmac_core.models.branch import Branch, Side
from cmac_core.objectives.attention import Guide, Reduction, attention_consistency
from cmac_core.objectives.contrast import Contrast, StepKeys
from cmac_core.objectives.correlation import Norm, guidance
from cmac_core.specs.method import Contrastive, CorrelationFiltering, Head, Moco, Model

BRANCH = Branch(Model(width=1, head=Head(dim=5, shared=False)), ("video", "audio"), heads=True, saliency=False)


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("reduction", ["sum", "mean", "per_modality"])
def test_equation_6(reduction: Reduction) -> None:
    target, guess = drawn(2, 3, 2), drawn(2, 3, 2, seed=1).requires_grad_()
    assert gradcheck(lambda guess: attention_consistency(target, guess, reduction, 4.5), guess)


@pytest.mark.parametrize("wi_pos", [False, True])
@pytest.mark.parametrize("in_batch", [False, True])
def test_equation_7(wi_pos: bool, in_batch: bool) -> None:
    module = Contrast(("video", "audio"), 3, Contrastive(wi_pos=wi_pos), Moco(K=5), seed=0).double()
    videos = torch.tensor([1, 1, 2, 2])
    keys = {"video": drawn(4, 3, seed=3), "audio": drawn(4, 3, seed=4)}
    module.enqueue(keys, videos)  # type: ignore[arg-type]
    step = StepKeys(keys, videos) if in_batch else None  # type: ignore[arg-type]

    def loss(video: Tensor, audio: Tensor) -> Tensor:
        sides = {"video": Side(video, video, video, None), "audio": Side(audio, audio, audio, None)}
        parts = module(sides, keys, videos, step)
        return torch.stack([value for name, value in parts.items() if name[-2:] in ("/v", "/a")]).sum()

    assert gradcheck(loss, (drawn(4, 3, seed=1).requires_grad_(), drawn(4, 3, seed=2).requires_grad_()))


@pytest.mark.parametrize("norm", ["cosine", "relu_cos", "minmax", "softmax", "none"])
@pytest.mark.parametrize("fuse", ["mean", "max", "product"])
def test_equation_4(norm: Norm, fuse: str) -> None:
    kernel, positions = drawn(2, 3, seed=1).requires_grad_(), drawn(2, 3, 3, 2, seed=2).requires_grad_()
    assert gradcheck(lambda k, p: guidance(k, p, norm, 2, fuse=fuse), (kernel, positions))  # type: ignore[arg-type]


def test_the_target_flowing_into_both_maps() -> None:
    """L_ac of both modalities from the maps on: each map makes the other's kernel, and has its own positions."""
    guesses = drawn(2, 2, 3, 2, seed=3), drawn(2, 3, 2, seed=4)

    def loss(video: Tensor, audio: Tensor) -> Tensor:
        of_video = guidance(audio.flatten(2).mean(2), video, "cosine", 2, source=audio)
        of_audio = guidance(video.flatten(2).mean(2), audio, "cosine", 2, source=video)
        return attention_consistency(of_video, guesses[0], "sum", 0) + attention_consistency(
            of_audio, guesses[1], "sum", 0
        )

    assert gradcheck(loss, (drawn(2, 4, 2, 3, 2).requires_grad_(), drawn(2, 4, 3, 2, seed=1).requires_grad_()))


def gradients(target_grad: str, space: str = "filter") -> dict[str, Tensor | None]:
    """What the sum of s of both modalities leaves in maps, kernels and heads."""
    maps = drawn(3, 8, 2, 3, 3).float().requires_grad_(), drawn(3, 8, 3, 2, seed=1).float().requires_grad_()
    kernels = [rows.detach().flatten(2).mean(2).requires_grad_() for rows in maps]
    sides = [Side(rows, kernel, None, None) for rows, kernel in zip(maps, kernels, strict=True)]
    pcf = CorrelationFiltering(target_grad=target_grad, space=space, center="batch")  # type: ignore[arg-type]
    BRANCH.zero_grad(set_to_none=True)
    guided = Guide(pcf, 8 if space == "filter" else 5)(*sides, BRANCH)
    if guided.video.requires_grad:
        (guided.video.square().sum() + guided.audio.square().sum()).backward()
    named = {"video": maps[0], "audio": maps[1], "kernel_v": kernels[0], "kernel_a": kernels[1]}
    return {name: rows.grad for name, rows in named.items()} | {"head": BRANCH.heads["video"].weight.grad}  # type: ignore[dict-item]


@pytest.mark.parametrize("space", ["filter", "projected"])
def test_a_stopped_target_teaches_nothing_and_kappa_alone_the_kernels(space: str) -> None:
    projected = {"head"} if space == "projected" else set()
    reached = {mode: {name for name, rows in gradients(mode, space).items() if rows is not None} for mode in MODES}
    assert reached["stop"] == set()
    assert reached["kappa"] == {"kernel_v", "kernel_a"} | projected
    assert reached["flow"] == {"video", "audio", "kernel_v", "kernel_a"} | projected
    kappa, flow = gradients("kappa", space), gradients("flow", space)
    torch.testing.assert_close(kappa["kernel_v"], flow["kernel_v"])
    if projected:
        assert not torch.allclose(kappa["head"], flow["head"])  # type: ignore[arg-type]  # not through the positions


MODES = ("stop", "kappa", "flow")
