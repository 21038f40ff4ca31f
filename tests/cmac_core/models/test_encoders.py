import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.models.video import r2plus1d_18

from cmac_core.models.branch import filter_head
from cmac_core.models.encoders import build_audio, build_video
from cmac_core.models.r2plus1d import R2Plus1D18
from cmac_core.models.resnet9 import ResNet9
from cmac_core.specs.method import Model


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def with_statistics(module: nn.Module) -> dict[str, torch.Tensor]:
    """The module's state with running statistics that are worth comparing."""
    draw = torch.Generator().manual_seed(0)
    state = module.state_dict()
    for name, value in state.items():
        if name.endswith("running_mean"):
            value.copy_(torch.randn(value.shape, generator=draw) * 0.1)
        elif name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=draw) + 0.5)
    return {name: value for name, value in state.items() if not name.startswith("fc.")}


def test_the_video_encoder_is_torchvisions() -> None:
    theirs = r2plus1d_18()
    state = with_statistics(theirs)
    ours = R2Plus1D18(64, group=16)
    ours.load_state_dict(state, strict=True)
    assert parameters(ours) == 31_300_125
    assert len([name for name in state if "num_batches" not in name]) == 185
    frames = torch.randn(2, 3, 7, 36, 32, generator=torch.Generator().manual_seed(1))
    features: list[torch.Tensor] = []
    theirs.layer4.register_forward_hook(lambda _, __, y: features.append(y))
    with torch.no_grad():
        theirs.eval()(frames)
        torch.testing.assert_close(ours.eval()(frames), features[0], rtol=1e-5, atol=1e-5)


def test_the_audio_encoder_is_torchvisions() -> None:
    theirs = ResNet(BasicBlock, [1, 1, 1, 1])
    theirs.conv1 = nn.Conv2d(1, 64, 7, 2, 3, bias=False)
    ours = ResNet9(64, group=16)
    ours.load_state_dict(with_statistics(theirs), strict=True)
    assert parameters(ours) == 4_899_520
    mel = torch.randn(2, 1, 65, 47, generator=torch.Generator().manual_seed(1))
    features: list[torch.Tensor] = []
    theirs.layer4.register_forward_hook(lambda _, __, y: features.append(y))
    with torch.no_grad():
        theirs.eval()(mel)
        torch.testing.assert_close(ours.eval()(mel), features[0], rtol=1e-5, atol=1e-5)


def test_gradients_of_the_folded_convolutions_are_torchvisions() -> None:
    theirs = r2plus1d_18()
    theirs.fc = nn.Identity()  # type: ignore[assignment]
    ours = R2Plus1D18(64, group=16)
    ours.load_state_dict(theirs.state_dict())
    frames = torch.randn(2, 3, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    weights = torch.linspace(-1, 1, 512)
    (theirs.eval()(frames) * weights).sum().backward()
    (ours.eval()(frames).mean((2, 3, 4)) * weights).sum().backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name].grad, rtol=1e-3, atol=1e-3, msg=name)


def test_gradients_in_training_are_torchvisions_in_double_precision() -> None:
    """Through batch norm's own statistics, and through g: with one cell in time, torch's own was wrong there."""
    theirs, ours = r2plus1d_18().double(), R2Plus1D18(64, group=4)
    theirs.fc = nn.Identity()  # type: ignore[assignment]
    ours.load_state_dict(theirs.state_dict())
    g = filter_head("video", Model(bn_group=4))
    plain = nn.Sequential(nn.Conv3d(512, 512, 1, bias=False), nn.BatchNorm3d(512)).double()
    plain.load_state_dict(g.state_dict())
    draw = torch.Generator().manual_seed(1)
    frames, weights = torch.randn(4, 3, 4, 32, 32, generator=draw), torch.randn(4, 512, 1, 2, 2, generator=draw)
    maps: list[torch.Tensor] = []
    theirs.layer4.register_forward_hook(lambda _, __, y: maps.append(y))
    theirs(frames.double())
    (plain(maps[0]) * weights).sum().backward()
    (g(ours(frames)) * weights).sum().backward()
    for one, other in ((ours, theirs), (g, plain)):
        expected = dict(other.named_parameters())
        for name, parameter in one.named_parameters():
            exact, found = expected[name].grad, parameter.grad
            assert exact is not None
            assert found is not None
            assert (found - exact).norm() < 0.2 * exact.norm(), name  # a ReLU that rounding turns makes 2 %


@pytest.mark.parametrize(
    ("frames", "map_size"),
    [
        ((32, 128, 128), (4, 8, 8)),
        ((30, 128, 128), (4, 8, 8)),
        ((32, 112, 112), (4, 7, 7)),
        ((16, 112, 112), (2, 7, 7)),
    ],
)
def test_video_maps_have_the_sizes_of_the_table(frames: tuple[int, ...], map_size: tuple[int, ...]) -> None:
    with torch.device("meta"):
        assert R2Plus1D18(64, 16).eval()(torch.empty(1, 3, *frames)).shape == (1, 512, *map_size)


@pytest.mark.parametrize(("frames", "map_size"), [(99, (9, 4)), (199, (9, 7))])
def test_audio_maps_have_the_sizes_of_the_table(frames: int, map_size: tuple[int, int]) -> None:
    with torch.device("meta"):
        assert ResNet9(64, 16).eval()(torch.empty(1, 1, 257, frames)).shape == (1, 512, *map_size)


def test_convolutions_start_with_kaimings_fan_out() -> None:
    torch.manual_seed(0)
    for encoder in (build_video(Model(width=16)), build_audio(Model(width=16))):
        for name, part in encoder.named_modules():
            if isinstance(part, nn.Conv2d | nn.Conv3d) and part.weight.numel() > 5000:
                fan_out = part.weight[:, 0].numel()
                assert part.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05), name


def test_the_width_scales_every_stage() -> None:
    model = Model(width=8)
    assert build_video(model).stem[0].weight.shape == (5, 3, 1, 7, 7)
    assert build_video(model).eval()(torch.zeros(1, 3, 8, 32, 32)).shape == (1, 64, 1, 2, 2)
    assert build_audio(model).eval()(torch.zeros(1, 1, 257, 99)).shape == (1, 64, 9, 4)


def test_half_the_depth_keeps_names_and_map() -> None:
    whole, half = R2Plus1D18(8, 16), R2Plus1D18(8, 16, depth=1)
    assert set(half.state_dict()) == {name for name in whole.state_dict() if ".1.conv" not in name}
    assert half(torch.zeros(1, 3, 8, 64, 64)).shape == (1, 64, 1, 4, 4)


def test_one_stage_less_leaves_the_first_stages_and_finer_maps() -> None:
    model = Model(width=8, stages=3)
    assert model.channels == 32
    video, audio = build_video(model), build_audio(model)
    assert video.eval()(torch.zeros(1, 3, 8, 64, 64)).shape == (1, 32, 2, 8, 8)
    assert audio.eval()(torch.zeros(1, 1, 257, 99)).shape == (1, 32, 17, 7)
    for short, whole in ((video, build_video(Model(width=8))), (audio, build_audio(Model(width=8)))):
        assert set(whole.state_dict()) - set(short.state_dict()) == {n for n in whole.state_dict() if "layer4" in n}
