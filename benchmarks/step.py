"""The training step and its parts against plain torch (`plain.py`): Conv3d in NCDHW and MoCo's loop, in fp32.

Processor time, since all of it is this process's on one thread.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from benchmarks.plain import PlainLoop, Video, torchvisions
from benchmarks.rounds import Comparison, StepTime, compare
from cmac_core.models.encoders import build_video
from cmac_core.models.folding import without_norms
from cmac_core.objectives.cmac import Batch, build_objective
from cmac_core.objectives.momentum import follow
from cmac_core.specs.jobs import Pretrain
from cmac_core.specs.method import Model
from cmac_core.training.optimizer import optimizer_of

CLIPS = (2, 3, 16, 64, 64)
# Clips, frames, pixels: batch norm takes its groups of two.
SIZES = ((2, 8, 32), (4, 8, 32), (8, 8, 32), (2, 16, 32), (2, 32, 32), (2, 8, 64), (2, 8, 96), (2, 16, 112))


def compared(name: str, *arms: Callable[[], object], work: float, unit: str, rounds: int) -> Comparison:
    """`compare` in half the rounds, since one takes seconds, and in processor time."""
    ours, plain = arms
    return compare(name, ours, plain, work=work, unit=unit, rounds=max(rounds // 2, 3), clock=time.process_time)


def encoder(rounds: int) -> Comparison:
    """R(2+1)D-18 at the paper's width on 2 clips of 16 x 64 x 64, forward and backward."""
    return _encoder("encoder, forward and backward", torch.float32, rounds)


def encoder_bf16(rounds: int) -> Comparison:
    """The same in bf16 over plain fp32."""
    return _encoder("same, bf16 over plain fp32", torch.bfloat16, rounds)


def _encoder(name: str, dtype: torch.dtype, rounds: int) -> Comparison:
    ours, plain, clips = _networks()
    _assert_near(ours, plain, clips, dtype)

    def train(network: nn.Module, dtype: torch.dtype) -> None:
        network.zero_grad()
        _maps(network, clips, dtype).square().mean().backward()

    arms = (lambda: train(ours, dtype), lambda: train(plain, torch.float32))
    return compared(name, *arms, work=2, unit="clips/s", rounds=rounds)


def features(rounds: int) -> Comparison:
    """What features are taken with: the map of the encoder whose norms are folded away, in eval mode."""
    return _features("features, forward", torch.float32, rounds)


def features_bf16(rounds: int) -> Comparison:
    """The same in bf16 over plain fp32."""
    return _features("features, bf16 over plain fp32", torch.bfloat16, rounds)


@torch.no_grad()
def _features(name: str, dtype: torch.dtype, rounds: int) -> Comparison:
    ours, plain, clips = _networks()
    for network in (ours, plain):
        network(clips)  # running statistics
        network.eval()
    folded = without_norms(ours)
    _assert_near(folded, plain, clips, dtype)
    arms: tuple[Callable[[], object], ...] = (lambda: _maps(folded, clips, dtype), lambda: plain(clips))
    with torch.no_grad():
        return compared(name, *arms, work=2, unit="clips/s", rounds=rounds)


def whole(rounds: int) -> Comparison:
    """CMAC's step: EMA, both encoders of both models, L_cl against 2 x 15,000 keys, SGD, queues. L_ac is left out."""
    spec = Pretrain.model_validate(
        {
            "dataset": "noise",
            "preset": "paper",
            "model": {"bn_group": 2},
            "moco": {"key_bn": "aligned"},
            "loss": {"lambda_ac": 0},
            "optim": {"batch": 2, "lr": 1e-4},
        }
    )
    draw = torch.Generator().manual_seed(0)
    frames, mel = torch.randn(CLIPS, generator=draw), torch.randn(2, 1, 257, 99, generator=draw)
    ours = build_objective(spec).train()
    plain = PlainLoop(ours, spec, torchvisions(ours.query))
    optimizer = optimizer_of(spec, ours)
    for group in optimizer.param_groups:
        group["lr"] = spec.optim.lr
    number = 0

    def step() -> Tensor:
        nonlocal number
        number += 1
        ours.begin_step()
        loss = ours.losses(Batch(frames, mel, torch.arange(2) + 2 * number), 1.0)["total"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ours.end_step()
        return loss.detach()

    # Two clips share statistics, so a step carries rounding far; tests compare fifty steps more closely.
    for rtol in (1e-4, 2e-2):
        torch.testing.assert_close(step(), plain.step(frames, mel), rtol=rtol, atol=0)
    return compared("CMAC's step", step, lambda: plain.step(frames, mel), work=2, unit="clips/s", rounds=rounds)


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
    arms = (lambda: follow(ours, query, 0.999), loop)
    # Short, and so at the mercy of whoever else uses the memory: it takes many.
    return compared("momentum update", *arms, work=1, unit="updates/s", rounds=8 * rounds)


def growth(rounds: int) -> Iterator[StepTime]:
    """The encoder's step for more clips, more frames and larger pictures, one at a time."""
    ours, plain, _ = _networks()
    for clips, frames, side in SIZES:
        shown = torch.randn(clips, 3, frames, side, side)
        times = [(_trained_s(ours, shown), _trained_s(plain, shown)) for _ in range(rounds + 1)][1:]
        fast, slow = (statistics.median(column) for column in zip(*times, strict=True))
        yield StepTime(clips, frames, side, fast, slow)


def _trained_s(network: nn.Module, clips: Tensor) -> float:
    """Processor time of forward and backward, seconds."""
    began = time.process_time()
    network(clips).square().mean().backward()
    return time.process_time() - began


def _networks() -> tuple[nn.Module, nn.Module, Tensor]:
    """Ours and torchvision's with the same weights, and clips."""
    torch.manual_seed(0)
    ours, plain = build_video(Model(bn_group=2)), Video()
    plain.net.load_state_dict(ours.state_dict())
    return ours.train(), plain.train(), torch.randn(CLIPS)


def _maps(network: nn.Module, clips: Tensor, dtype: torch.dtype) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype is torch.bfloat16):
        return network(clips).float()


@torch.no_grad()
def _assert_near(ours: nn.Module, plain: nn.Module, clips: Tensor, dtype: torch.dtype) -> None:
    """The same maps; in bf16 as near to plain fp32 as plain bf16 is, since random weights carry roundings far."""
    wanted = plain(clips)
    off, rounding = (float((_maps(one, clips, dtype) - wanted).norm() / wanted.norm()) for one in (ours, plain))
    most = max(1e-3, 1.5 * rounding)
    assert off < most, f"maps differ by {off:.1e} of their norm, more than {most:.1e}"
