"""What numbers a device computes in, and whether it can be trusted with them."""

from contextlib import AbstractContextManager

import torch
import torch.nn.functional as F

from cmac_core.specs.jobs import Precision
from cmac_core.training.errors import UserError


def resolve(precision: Precision, device: torch.device) -> Precision:
    """`auto` is bf16 on a GPU and fp32 on a CPU (RULINGS 6)."""
    if precision != "auto":
        return precision
    return "bf16" if device.type == "cuda" else "fp32"


def autocast(precision: Precision, device: torch.device) -> AbstractContextManager[None]:
    """The context for forward passes; it changes nothing for fp32."""
    return torch.autocast(device.type, torch.bfloat16, enabled=resolve(precision, device) == "bf16")


def make_ready(precision: Precision, device: torch.device) -> None:
    """Choose kernels for fixed shapes. Raises UserError when bf16 convolutions of this installation are wrong."""
    if device.type != "cuda":
        return
    torch.cuda.set_device(device)
    torch.backends.cudnn.benchmark = True
    if resolve(precision, device) == "bf16":
        torch.set_float32_matmul_precision("high")
        _check_convolutions(device)


def _check_convolutions(device: torch.device) -> None:
    """cuDNN 9.8 to 9.10 gave silently wrong bf16 3-D convolutions (pytorch #163539)."""
    draw = torch.Generator().manual_seed(0)
    x, weight = torch.randn(2, 16, 4, 16, 16, generator=draw), torch.randn(32, 16, 3, 3, 3, generator=draw)
    exact = F.conv3d(x.to(device), weight.to(device), padding=1)
    rough = F.conv3d(x.to(device, torch.bfloat16), weight.to(device, torch.bfloat16), padding=1).float()
    off = float((rough - exact).norm() / exact.norm())
    if not off < 0.02:
        raise UserError(
            f"bf16 convolutions are wrong here: off by {off:.1%} (torch {torch.__version__}, "
            f"cuDNN {torch.backends.cudnn.version()})",
            "Update torch, or set precision to fp32.",
        )
