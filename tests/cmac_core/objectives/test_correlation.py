import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from cmac_core.objectives.correlation import Dimension, Fuse, Norm, guidance

VIDEO, AUDIO = (4, 8, 8), (9, 4)


def features(clips: int, channels: int, cells: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(clips, channels, generator=draw), torch.randn(clips, channels, *cells, generator=draw)


def halved(x: np.ndarray, axis: int) -> np.ndarray:
    """Means of neighbours along one axis; the last one alone where their number is odd."""
    pairs = [np.take(x, range(i, min(i + 2, x.shape[axis])), axis).mean(axis) for i in range(0, x.shape[axis], 2)]
    return np.stack(pairs, axis)


def enlarged(x: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Linear along one axis, corners not aligned."""
    places = np.clip((np.arange(size) + 0.5) * x.shape[axis] / size - 0.5, 0, x.shape[axis] - 1)
    low = np.floor(places).astype(int)
    high = np.minimum(low + 1, x.shape[axis] - 1)
    shape = [-1 if i == axis else 1 for i in range(x.ndim)]
    part = (places - low).reshape(shape)
    return np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part


def answered(kernel: np.ndarray, positions: np.ndarray, norm: str) -> np.ndarray:
    """The normalised response of one clip at one scale, cell by cell: kernel (D,), positions (D, cells)."""
    response = np.zeros(positions.shape[1:])
    for cell in np.ndindex(*response.shape):
        here = positions[(slice(None), *cell)]
        response[cell] = kernel @ here
        if norm in ("cosine", "relu_cos", "minmax"):
            response[cell] /= np.linalg.norm(kernel) * np.linalg.norm(here)
    match norm:
        case "cosine":
            return (1 + response) / 2
        case "relu_cos":
            return np.maximum(response, 0)
        case "minmax" if np.ptp(response) == 0:
            return np.full_like(response, 0.5)
        case "minmax":
            return (response - response.min()) / np.ptp(response)
        case "softmax":
            response = np.exp(response - response.max())
            return response / response.sum()
    return response


def written_out(
    kernel: np.ndarray,
    positions: np.ndarray,
    norm: str,
    scales: int,
    fuse: str = "mean",
    axes: tuple[int, ...] = (1, 2, 3),
    source: np.ndarray | None = None,
    source_axes: tuple[int, ...] = (1, 2, 3),
) -> np.ndarray:
    """Eq. 4 of one clip. Scales halve `axes`; with a source, whose axes are others, each has that map's mean."""
    cells, maps = positions.shape[1:], []
    for _ in range(scales):
        response = answered(kernel, positions, norm)
        for axis, size in enumerate(cells):
            response = enlarged(response, size, axis)
        maps.append(response)
        for axis in (axis for axis in axes if axis < positions.ndim):
            positions = halved(positions, axis)
        if source is not None:
            for axis in (axis for axis in source_axes if axis < source.ndim):
                source = halved(source, axis)
            kernel = source.reshape(len(source), -1).mean(1)
    return {"mean": np.mean, "max": np.max, "product": np.prod}[fuse](maps, 0)  # type: ignore[operator]


@pytest.mark.parametrize("norm", ["cosine", "softmax", "none", "relu_cos", "minmax"])
@pytest.mark.parametrize("scales", [1, 2, 3])
@pytest.mark.parametrize("cells", [VIDEO, AUDIO, (1, 4, 4)])
def test_it_is_equation_4_written_out(norm: Norm, scales: int, cells: tuple[int, ...]) -> None:
    kernel, positions = features(2, 5, cells)
    s = guidance(kernel, positions, norm, scales)
    for clip in range(2):
        expected = written_out(kernel[clip].double().numpy(), positions[clip].double().numpy(), norm, scales)
        np.testing.assert_allclose(s[clip].numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("fuse", ["max", "product"])
def test_scales_may_be_fused_otherwise(fuse: Fuse) -> None:
    kernel, positions = features(1, 5, VIDEO)
    s = guidance(kernel, positions, "cosine", 3, fuse=fuse)[0]
    expected = written_out(kernel[0].double().numpy(), positions[0].double().numpy(), "cosine", 3, fuse)
    np.testing.assert_allclose(s.numpy(), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("cells", "pool", "axes"), [(VIDEO, "space", (2, 3)), (VIDEO, "time", (1,)), (AUDIO, "space", (1,))]
)
def test_scales_may_leave_time_or_space_as_it_is(
    cells: tuple[int, ...], pool: Dimension, axes: tuple[int, ...]
) -> None:
    kernel, positions = features(1, 5, cells)
    s = guidance(kernel, positions, "cosine", 2, pool=(pool,))[0]
    expected = written_out(kernel[0].double().numpy(), positions[0].double().numpy(), "cosine", 2, axes=axes)
    np.testing.assert_allclose(s.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_each_scale_may_have_the_kernel_of_its_own_scale() -> None:
    _, positions = features(1, 5, VIDEO)
    _, source = features(1, 5, AUDIO, seed=1)
    kernel = source.flatten(2).mean(2)
    s = guidance(kernel, positions, "cosine", 3, source=source)
    rows = [part[0].double().numpy() for part in (kernel, positions)]
    expected = written_out(*rows, "cosine", 3, source=source[0].double().numpy())
    np.testing.assert_allclose(s[0].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(s, guidance(kernel, positions, "cosine", 3), atol=1e-3)  # 9 bands are odd
    even = features(1, 5, (4, 4), seed=2)[1]
    kernel = even.flatten(2).mean(2)
    torch.testing.assert_close(
        guidance(kernel, positions, "cosine", 3, source=even), guidance(kernel, positions, "cosine", 3)
    )


def test_pooling_at_an_odd_border_averages_what_is_there() -> None:
    cells = torch.arange(9.0)[None, None, :, None]
    assert F.avg_pool2d(cells, (2, 1), ceil_mode=True).flatten().tolist() == [0.5, 2.5, 4.5, 6.5, 8.0]
    np.testing.assert_array_equal(halved(np.arange(9.0), 0), [0.5, 2.5, 4.5, 6.5, 8.0])


@pytest.mark.parametrize(
    ("cells", "sizes"), [(VIDEO, [(4, 8, 8), (2, 4, 4), (1, 2, 2)]), (AUDIO, [(9, 4), (5, 2), (3, 1)])]
)
def test_scales_have_the_sizes_of_the_paper(
    cells: tuple[int, ...], sizes: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[int, ...]] = []
    kernel, positions = features(1, 3, cells)
    from cmac_core.objectives import correlation

    original = correlation.respond

    def noting(kernel: torch.Tensor, positions: torch.Tensor, norm: correlation.Norm) -> torch.Tensor:
        seen.append(tuple(positions.shape[2:]))
        return original(kernel, positions, norm)

    monkeypatch.setattr(correlation, "respond", noting)
    guidance(kernel, positions, "cosine", 3)
    assert seen == sizes


@given(seed=st.integers(0, 10**6), scales=st.integers(1, 3))
def test_the_cosine_keeps_s_between_0_and_1(seed: int, scales: int) -> None:
    kernel, positions = features(2, 4, AUDIO, seed)
    s = guidance(kernel, positions, "cosine", scales)
    assert s.min() >= 0
    assert s.max() <= 1


def test_a_kernel_equal_to_one_cells_direction_gives_1_there() -> None:
    _, positions = features(1, 8, VIDEO)
    s = guidance(3 * positions[:, :, 2, 5, 1], positions, "cosine", 1)
    assert s[0, 2, 5, 1].item() == pytest.approx(1, abs=1e-6)
    assert s.argmax() == 2 * 64 + 5 * 8 + 1


def test_softmax_sums_to_1() -> None:
    s = guidance(*features(3, 8, VIDEO), "softmax", 1)
    torch.testing.assert_close(s.flatten(1).sum(1), torch.ones(3))


def test_random_features_start_at_one_half() -> None:
    """Cosines in 512 dimensions have a spread of 1/sqrt(512): .022 of s with one scale, .016 with two."""
    kernel, positions = features(16, 512, VIDEO)
    one = guidance(kernel, positions, "cosine", 1)
    assert (one.mean().item(), one.std().item()) == (pytest.approx(0.5, abs=0.003), pytest.approx(0.022, abs=0.002))
    two = guidance(kernel, positions, "cosine", 2)
    assert two.std().item() == pytest.approx(0.016, abs=0.002)
    constant = 256 * two.var().item()
    assert constant == pytest.approx(0.06, abs=0.02)
