"""The training step on noise: what is timed, on what, and where figures go."""

import copy
import gc
import json
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.gpu.variants import VARIANTS
from cmac_core.objectives.cmac import Batch, build_objective
from cmac_core.specs.jobs import Precision, Pretrain
from cmac_core.training.data_parallel import in_channels_last
from cmac_core.training.optimizer import optimizer_of
from cmac_core.training.precision import autocast


class Case(NamedTuple):
    """One row of the step's table."""

    variant: str
    batch: int
    precision: Precision = "bf16"
    group: int | None = None  # None: groups of 16; else clips that share statistics


# What has to be known comes first: time may be up before the rest.
CASES = (
    Case("ours", 128),
    Case("plain, channels last", 64),
    Case("ours", 64),
)
LATE = (
    Case("ours, stem of 7 x 7", 64),
    Case("ours, fused norms alone", 64),
    Case("ours, as on a CPU", 64),
    Case("ours", 32),
    Case("ours", 16),
    Case("ours", 128, group=128),
    Case("plain, NCDHW", 32),
    Case("ours", 16, "fp32"),
    Case("plain, NCDHW", 16, "fp32"),
    Case("plain, channels last, compiled", 64),  # compiling takes most of a minute
)


class Scale(NamedTuple):
    """What a clip is, and what is tried on it."""

    body: dict[str, Any]
    source: tuple[int, int]  # height and width of what is decoded, pixels
    cases: tuple[Case, ...]
    late: tuple[Case, ...]
    base: int  # clips of the checks


PAPER = Scale({"preset": "paper"}, (160, 214), CASES, LATE, 8)
SMOKE_BODY: dict[str, Any] = {"preset": "paper", "scale": "small", "data": {"frames": 8, "fps": 8.0}}
SMOKE = Scale(SMOKE_BODY, (80, 107), (Case("ours", 4), Case("ours, as on a CPU", 4)), (Case("ours", 4, "fp32"),), 4)


class Bench:
    """Where figures go, and how long is left."""

    def __init__(self, out: Path, scale: Scale, seconds: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.file = out / "gpu.jsonl"
        self.out, self.scale, self.until = out, scale, time.monotonic() + seconds
        self.device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        self.began = time.monotonic()
        self.rows: list[dict[str, Any]] = []
        self.failed = 0

    def tell(self, section: str, **values: Any) -> None:
        """Keep a figure, and print it."""
        row = {"section": section, **values, "at_s": round(time.monotonic() - self.began)}
        self.rows.append(row)
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(json.dumps(row), flush=True)

    @contextmanager
    def part(self, section: str, **values: Any) -> Iterator[bool]:
        """One part: it is left out when time is up, and its failure is told and counted, not the end of the others."""
        if time.monotonic() > self.until:
            self.tell(section, **values, left_out="time is up")
            yield False
            return
        try:
            yield True
        except Exception as error:
            self.failed += 1
            self.tell(section, **values, failed=f"{type(error).__name__}: {str(error)[:300]}")
            traceback.print_exc()
        finally:
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def spec(self, batch: int, group: int | None = None) -> Pretrain:
        """The pretraining of this scale with a batch, and groups of 16 unless another size is given."""
        body = copy.deepcopy(self.scale.body) | {"dataset": "noise", "optim": {"batch": batch, "algorithm": "sgd"}}
        return Pretrain.model_validate(body | {"model": {"bn_group": min(group or 16, batch)}})


class Step:
    """The training step as the trainer does it (METHOD 5), on frames and pictures of noise."""

    def __init__(self, bench: Bench, case: Case) -> None:
        self.spec = bench.spec(case.batch, case.group)
        self.device, self.precision = bench.device, case.precision
        torch.manual_seed(0)
        objective = build_objective(self.spec)
        VARIANTS[case.variant](objective)
        objective = objective.to(self.device)
        plain = case.variant.startswith("plain")
        self.objective = (objective if plain else in_channels_last(objective)).train()
        self.optimizer = optimizer_of(self.spec, self.objective)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.01
        self.batch = noise(self.spec, self.device)

    def __call__(self) -> dict[str, Tensor]:
        self.objective.begin_step()
        with autocast(self.precision, self.device):
            losses = self.objective.losses(self.batch, 1.0)
        self.optimizer.zero_grad()
        losses["total"].backward()
        norm = torch.nn.utils.get_total_norm([p.grad for p in self.objective.trained() if p.grad is not None])
        self.optimizer.found_inf = (~norm.isfinite()).float()  # type: ignore[attr-defined]
        self.optimizer.step()
        self.objective.end_step()
        return losses


def noise(spec: Pretrain, device: torch.device) -> Batch:
    """A batch of a spec's shapes: (B, 3, T, H, W) in channels-last memory, (B, 1, F, T), ids."""
    draw = torch.Generator().manual_seed(1)
    size, data = spec.optim.batch, spec.data
    # A few clips, repeated with another sign and shift: drawing gigabytes on one core takes longer than training.
    few = torch.randn(4, data.frames, data.crop, data.crop, 3, generator=draw).to(device)
    clips = torch.stack([few[i % 4].roll(i, 1) * (1 if i % 8 < 4 else -1) for i in range(size)])
    mel = torch.randn(size, 1, 257, 99, generator=draw).to(device)
    return Batch(clips.permute(0, 4, 1, 2, 3), mel, torch.arange(size, device=device))


def timed(bench: Bench, call: Callable[[], object], warm_up: int, times: int, calls: int = 1) -> list[float]:
    """Seconds of each of `times` rounds of `calls`, the device waited for after each round."""
    for _ in range(warm_up):
        call()
    found = []
    for _ in range(times):
        wait(bench.device)
        start = time.perf_counter()
        for _ in range(calls):
            call()
        wait(bench.device)
        found.append(time.perf_counter() - start)
    return found


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


@contextmanager
def untuned() -> Iterator[None]:
    """Convolutions by the first algorithm there is: where time is not the matter, trying others takes half a minute."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


@contextmanager
def exact_matmul() -> Iterator[None]:
    """fp32 products and convolutions without TF32, untuned."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        with untuned():
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
