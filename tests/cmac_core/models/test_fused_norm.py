"""The norm of all groups at once is the library's, group by group, or it is not taken."""

import os
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor

from cmac_core.models import fused_norm
from cmac_core.models.batch_norm import Running
from cmac_core.models.fused_norm import disagreement, normalised

CPU = torch.device("cpu")


def test_it_agrees_with_the_library() -> None:
    assert disagreement(CPU) is None


def broken(change: str) -> Any:
    """The expression with one thing wrong: what a bad kernel might do."""

    def expression(
        x: Tensor, weight: Tensor, bias: Tensor, running: Running, groups: int, eps: float, relu: bool,
        add: Tensor | None,
    ) -> Tensor:  # fmt: skip
        if change == "gradient of weight":
            weight = weight.detach() + 0 * weight
        if change == "groups":
            groups = 1
        if change == "addend" and add is not None:
            add = 1.01 * add
        if change == "momentum":
            running = running._replace(momentum=0.2)
        return normalised(x, weight, bias, running, groups, eps, relu and change != "ReLU", add)

    return expression


@pytest.mark.parametrize("change", ["gradient of weight", "groups", "ReLU", "addend", "momentum"])
def test_what_is_wrong_is_found(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_norm, "normalised", broken(change))
    fault = disagreement(CPU)
    assert fault is not None
    assert " is off by " in fault
    if change.startswith("gradient"):
        assert fault.startswith("gradient of weight is off by 1.0e+00 in torch.float32")


def test_a_compiler_that_fails_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*_: object) -> None:
        raise RuntimeError("no C compiler\nfound")

    monkeypatch.setattr(fused_norm, "normalised", failing)
    assert disagreement(CPU) == "RuntimeError: no C compiler"


INTERPRETED = """
import torch
from cmac_core.models import fused_norm, norm_kernels

fused_norm.normalised = norm_kernels.normalised
print(fused_norm.disagreement(torch.device("cpu")))
"""


@pytest.mark.system
def test_the_kernels_agree_with_the_library_where_triton_interprets_them() -> None:
    command = [sys.executable, "-W", "error", "-c", INTERPRETED]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    assert subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout == "None\n"


CELLS = """
import sys
import torch
from cmac_core.models import norm_kernels
from cmac_core.models.batch_norm import Running
from cmac_core.models.fused_norm import normalised

draw = torch.Generator().manual_seed(0)
shape = tuple(int(size) for size in sys.argv[1].split("x"))
layout = torch.channels_last if len(shape) == 4 else torch.channels_last_3d


def drawn():
    values = torch.randn(shape, generator=draw, dtype=torch.float64).add(100.0)
    return values.to(memory_format=layout).requires_grad_()


x, add = drawn(), drawn()
weight, bias = (torch.rand(shape[1], generator=draw, dtype=torch.float64).requires_grad_() for _ in range(2))
readout = torch.randn(shape, generator=draw, dtype=torch.float64)
asked = (x, weight, bias, add)


def seen(expression, dtype):
    given = [value.detach().to(dtype).requires_grad_() for value in asked]
    running = Running(torch.zeros(shape[1], dtype=dtype), torch.ones(shape[1], dtype=dtype), 0.1)
    y = expression(*given[:3], running, 2, 1e-5, True, given[3])
    return [y, running.mean, running.variance, *torch.autograd.grad(y, given, readout.to(dtype))]


pairs = zip(seen(norm_kernels.normalised, torch.float32), seen(normalised, torch.float64), strict=True)
print(max(float((mine - theirs).detach().norm() / theirs.detach().norm()) for mine, theirs in pairs))
"""


@pytest.mark.system
@pytest.mark.parametrize("shape", ["4x144x2x8x8", "4x3x2x5x5", "2x300x7x3", "8x16x1x1x2"])
def test_any_number_of_channels_and_cells_is_normalised(shape: str) -> None:
    """Far from zero too: in sums of squares a mean of a hundred would cost four digits of seven."""
    command = [sys.executable, "-c", CELLS, shape]
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert float(said) < 2e-5


NOT_FINITE = """
import torch
from cmac_core.models import norm_kernels
from cmac_core.models.batch_norm import Running

running = Running(torch.zeros(2), torch.ones(2), 0.1)
x = torch.arange(48.0).view(4, 2, 2, 3)
x[0, 1, 0, 0] = float("inf")
norm_kernels.normalised(x, torch.ones(2), torch.zeros(2), running, 2, 1e-5, False, None)
print(running.mean.tolist()[1], running.variance.tolist()[1], running.mean.tolist()[0] > 0)
"""


def test_what_is_not_finite_leaves_no_trace_in_the_moving_averages() -> None:
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    command = [sys.executable, "-W", "ignore", "-c", NOT_FINITE]
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["0.0", "1.0", "True"]
