"""The training step's parts against plain torch: Conv3d in NCDHW, and a loop over parameters."""

import copy

import torch
import torchvision
from torch import nn

from benchmarks.rounds import Comparison, compare
from cmac_core.models.encoders import build_video
from cmac_core.objectives.momentum import follow
from cmac_core.specs.method import Model


def encoder(rounds: int) -> Comparison:
    """R(2+1)D-18 at the paper's width on 2 clips of 16 x 64 x 64, fp32, forward and backward."""
    ours = build_video(Model(bn_group=2))
    plain = torchvision.models.video.r2plus1d_18()
    plain.load_state_dict(ours.state_dict(), strict=False)
    clips = torch.randn(2, 3, 16, 64, 64)

    def plain_map() -> torch.Tensor:
        x = plain.stem(clips)
        for layer in (plain.layer1, plain.layer2, plain.layer3, plain.layer4):
            x = layer(x)
        return x

    torch.testing.assert_close(ours(clips), plain_map(), rtol=1e-3, atol=1e-3)
    return compare(
        "encoder, forward and backward",
        lambda: ours(clips).square().mean().backward(),
        lambda: plain_map().square().mean().backward(),
        work=2,
        unit="clips/s",
        rounds=rounds,
    )


def momentum(rounds: int) -> Comparison:
    """The key model's step: one foreach call against MoCo's loop."""
    query = build_video(Model())
    ours, plain = copy.deepcopy(query), copy.deepcopy(query)
    nn.utils.vector_to_parameters(torch.randn(sum(p.numel() for p in query.parameters())), query.parameters())

    @torch.no_grad()
    def loop() -> None:
        for key, other in zip(plain.parameters(), query.parameters(), strict=True):
            key.data = key.data * 0.999 + other.data * (1.0 - 0.999)

    follow(ours, query, 0.999)
    loop()
    for a, b in zip(ours.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    return compare("momentum update", lambda: follow(ours, query, 0.999), loop, work=1, unit="updates/s", rounds=rounds)
