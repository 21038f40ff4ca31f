"""The kernels compile for a GPU that is not there."""

from typing import Any

import pytest

triton = pytest.importorskip("triton")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from cmac_core.models import norm_kernels  # noqa: E402

HOPPER = GPUTarget("cuda", 90, 32)
MAPS = {"x", "y", "given", "passed", "add", "out"}
FACTORS = {"eps", "correction", "momentum"}
ROUND = {"lines", "width", "channels", "cells", "chunk"}  # multiples of 16 for all maps that are large


def compiled(kernel: Any, dtype: str, **constants: Any) -> Any:
    names = kernel.arg_names
    constants = {name: value for name, value in constants.items() if name in names}

    def kind(name: str) -> str:
        if name in constants:
            return "constexpr"
        if name in MAPS:
            return f"*{dtype}"
        if name in FACTORS:
            return "fp32"
        return "i32" if name in ROUND | {"real", "groups"} else "*fp32"

    signature = {name: kind(name) for name in names}
    sixteen = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if name in ROUND or signature[name].startswith("*")
    }
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()}, sixteen)
    return triton.compile(source, target=HOPPER, options={"num_warps": norm_kernels.WARPS})


@pytest.mark.system
@pytest.mark.parametrize("dtype", ["bf16", "fp32"])
@pytest.mark.parametrize("name", ["_moments", "_normalise", "_follow", "_gradient_sums", "_gradient"])
def test_it_compiles_and_reads_sixteen_bytes_at_a_time(name: str, dtype: str) -> None:
    kernel = getattr(norm_kernels, name)
    sizes = {"LINES": norm_kernels.LINES, "WIDE": norm_kernels.WIDE}
    for add, relu in ((False, False), (False, True), (True, True)):
        found = compiled(kernel, dtype, **sizes, ADD=add, RELU=relu)
        if name != "_follow":
            assert "ld.global.v4.b32" in found.asm["ptx"]
