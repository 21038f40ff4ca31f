"""How fast is the step on this device, what else costs time, and which kernels take it."""

import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.gpu.step import PAPER, Bench, Case, Step, timed, untuned, wait
from cmac_core.data.raw_batch import RawBatch
from cmac_core.models.folding import without_norms
from cmac_core.models.fused import widened
from cmac_core.training.precision import autocast
from cmac_core.training.views import Views

LARGE_MATMUL = 790e12  # FLOP/s that a large bf16 product reaches on an H200: 100 % MFU
EAGER, FUSED = 380.0, 497.0  # clips/s of 32 frames by the memory and arithmetic of an H200 (docs/PERFORMANCE.md)
ROOFLINE_FRAMES = 1.055  # a clip of 30 frames is that much less work
WARM_UP, ROUNDS, STEPS = 3, 3, 4


def machine(bench: Bench) -> None:
    """What this ran on, and the speed of a large product there."""
    with bench.part("machine") as go:
        if not go:
            return
        found = {"torch": torch.__version__, "device": "CPU"}
        if bench.device.type == "cuda":
            found["device"] = torch.cuda.get_device_name()
            found["cudnn"] = str(torch.backends.cudnn.version())
        side = 8192 if bench.device.type == "cuda" else 256
        a, b = (torch.randn(side, side, device=bench.device, dtype=torch.bfloat16) for _ in range(2))
        seconds = statistics.median(timed(bench, lambda: a @ b, 3, 10))
        bench.tell("machine", **found, matmul_tflops=round(2 * side**3 / seconds / 1e12, 1))


def steps(bench: Bench, cases: Sequence[Case], work: float) -> None:
    """Each case: clips/s, MFU, shares of the ceilings, peak memory, seconds until it was warm.

    As in a training nothing waits between steps; rounds of steps are timed.
    """
    for case in cases:
        with bench.part("step", **case._asdict()) as go:
            if not go:
                continue
            if bench.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            began = time.perf_counter()
            step = Step(bench, case)
            for _ in range(WARM_UP):
                step()
            wait(bench.device)
            ready = time.perf_counter() - began
            times = timed(bench, step, 0, ROUNDS, STEPS)
            rate = STEPS * case.batch / statistics.median(times)
            peak = torch.cuda.max_memory_allocated() / 1e9 if bench.device.type == "cuda" else 0.0
            ceiling = ROOFLINE_FRAMES if step.spec.data.frames == 30 else 1.0
            bench.tell(
                "step",
                **case._asdict(),
                clips_per_s=round(rate, 1),
                spread=round((max(times) - min(times)) / statistics.median(times), 3),
                mfu=round(100 * rate * work / LARGE_MATMUL, 1),
                of_eager=round(100 * rate / EAGER / ceiling),
                of_fused=round(100 * rate / FUSED / ceiling),
                peak_gb=round(peak, 1),
                ready_s=round(ready, 1),
            )
            del step


def work_of_a_clip(bench: Bench) -> float:
    """FLOP of one clip's share of a step, counted."""
    from torch.utils.flop_counter import FlopCounterMode

    with bench.part("work") as go:
        if not go:
            return 0.0
        size = bench.scale.base
        step = Step(bench, Case("ours, as on a CPU", size))  # padding is no work
        with untuned(), FlopCounterMode(display=False) as counter:
            step()
        found = counter.get_total_flops() / size
        bench.tell("work", gflop_per_clip=round(found / 1e9, 1))
        return found
    return 0.0


def kernels(bench: Bench) -> None:
    """Where a step's time goes, by kernel."""
    with bench.part("kernels") as go:
        if not go or bench.device.type != "cuda":
            return
        step = Step(bench, Case("ours", 128))
        for _ in range(WARM_UP):
            step()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            step()
            wait(bench.device)
        rows = sorted(profile.key_averages(), key=lambda row: -row.self_device_time_total)
        whole = sum(row.self_device_time_total for row in rows)
        for row in rows[:18]:
            share = round(100 * row.self_device_time_total / whole, 1)
            bench.tell("kernels", kernel=row.key[:110], percent=share, ms=round(row.self_device_time_total / 1e3, 2))


def views(bench: Bench) -> None:
    """Frames and sound as they are decoded, to what the networks see: clips/s on the device."""
    with bench.part("views") as go:
        if not go:
            return
        spec = bench.spec(bench.scale.base * 4)
        size, (height, width) = spec.optim.batch, bench.scale.source
        pixels = torch.randint(0, 256, (size * spec.data.frames * height * width * 3,), dtype=torch.uint8)
        sound = torch.randint(-3000, 3000, (size, 24_000), dtype=torch.int16)
        raw = RawBatch(
            pixels, [(height, width)] * size, sound, [(i, 0) for i in range(size)], torch.arange(size), 0,
            spec.data.frames,
        )  # fmt: skip
        if bench.device.type == "cuda":
            raw = raw.pin_memory()
        see = Views(spec.data, spec.audio, (0.0, 1.0), 0, bench.device)
        seconds = statistics.median(timed(bench, lambda: see(raw), 2, 5))
        bench.tell("views", clips_per_s=round(size / seconds, 1), ms_per_clip=round(1e3 * seconds / size, 2))


def features(bench: Bench) -> None:
    """The video network as evaluations run it: forward alone, bf16, with batch norm folded into convolutions."""
    for name in ("ours", "ours, as on a CPU", "plain, channels last") if bench.scale is PAPER else ("ours",):
        with bench.part("features", variant=name) as go:
            if not go:
                continue
            step = Step(bench, Case(name, bench.scale.base * 4))
            network = step.objective.query.encoders["video"].eval()
            if name.startswith("ours"):
                network = without_norms(network)
            if name == "ours":
                network = widened(network)

            @torch.no_grad()
            def forward(network: Any = network, step: Step = step) -> None:
                with autocast("bf16", bench.device):
                    network(step.batch.frames)

            seconds = statistics.median(timed(bench, forward, 3, 6))
            bench.tell("features", variant=name, clips_per_s=round(bench.scale.base * 4 / seconds, 1))
