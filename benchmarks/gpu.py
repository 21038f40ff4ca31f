"""The training step on one GPU: is it right, how fast is it, and where does the time go.

`python -m benchmarks.gpu --out DIR` measures for at most eight minutes, writes each figure to DIR/gpu.jsonl as it is
found and ends with a table. It needs torch, torchaudio, pydantic and, for the plain network, torchvision. Without
a GPU, `--smoke` runs everything once on tiny clips: that it runs is all this shows.
"""

import argparse
import copy
import gc
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.gpu_variants import VARIANTS, Change, changed
from cmac_core.data.loader import RawBatch
from cmac_core.jobs.pretrain import optimizer_of
from cmac_core.objectives.cmac import Batch, build_objective
from cmac_core.specs.jobs import Pretrain
from cmac_core.training.data_parallel import in_channels_last
from cmac_core.training.precision import autocast, make_ready
from cmac_core.training.views import Views

LARGE_MATMUL = 790e12  # FLOP/s that a large bf16 product reaches on an H200: 100 % MFU
EAGER, FUSED = 380.0, 497.0  # clips/s of 32 frames by the memory and arithmetic of an H200 (docs/PERFORMANCE.md)
ROOFLINE_FRAMES = 1.055  # a clip of 30 frames is that much less work
WARM_UP, STEPS = 3, 6


class Case(NamedTuple):
    """One row of the step's table."""

    variant: str
    batch: int
    precision: str = "bf16"
    group: int | None = None  # None: groups of 16; else clips that share statistics


CASES = (
    Case("ours", 64),
    Case("plain, NCDHW", 32),
    Case("plain, channels last", 64),
    Case("padded", 64),
    Case("fused norm", 64),
    Case("padded, fused norm", 128),
    Case("ours", 128),
    Case("ours", 16),
    Case("ours", 32),
    Case("plain, NCDHW", 16, "fp32"),
    Case("ours", 16, "fp32"),
    Case("ours", 128, group=128),
    Case("padded", 128),
)
LATE = (Case("padded, compiled", 64),)  # compiling takes a minute or more


class Scale(NamedTuple):
    """What a clip is."""

    body: dict[str, Any]
    source: tuple[int, int]  # height and width of what is decoded, pixels
    cases: tuple[Case, ...]
    late: tuple[Case, ...]
    base: int  # clips of the checks


PAPER = Scale({"preset": "paper"}, (160, 214), CASES, LATE, 16)
SMOKE_BODY: dict[str, Any] = {"preset": "paper", "scale": "small", "data": {"frames": 8, "fps": 8.0}}
SMOKE = Scale(SMOKE_BODY, (80, 107), (Case("ours", 4), Case("padded", 4)), (Case("ours", 4, "fp32"),), 4)


class Bench:
    """Where figures go, and how long is left."""

    def __init__(self, out: Path, scale: Scale, seconds: float) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.file = out / "gpu.jsonl"
        self.out, self.scale, self.until = out, scale, time.monotonic() + seconds
        self.device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
        self.rows: list[dict[str, Any]] = []
        self.failed = 0

    def tell(self, section: str, **values: Any) -> None:
        """Keep a figure, and print it."""
        row = {"section": section, **values}
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

    def __init__(self, bench: Bench, case: Case, change: Change | None = None) -> None:
        self.spec = bench.spec(case.batch, case.group)
        self.device, self.precision = bench.device, case.precision
        objective = changed(build_objective(self.spec), change or VARIANTS[case.variant]).to(self.device)
        plain = case.variant.startswith("plain")
        self.objective = (objective if plain else in_channels_last(objective)).train()
        self.optimizer = optimizer_of(self.spec, self.objective)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.01
        self.batch = noise(self.spec, self.device)

    def __call__(self) -> dict[str, Tensor]:
        self.objective.begin_step()
        with autocast(self.precision, self.device):  # type: ignore[arg-type]
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


def main() -> int:
    """Measure; 1 when a part failed."""
    parser = argparse.ArgumentParser(prog="benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder of gpu.jsonl and gpu.md")
    parser.add_argument("--seconds", type=float, default=440, help="after which nothing more is begun")
    parser.add_argument("--smoke", action="store_true", help="tiny clips, once: for machines without a GPU")
    options = parser.parse_args()
    if not options.smoke and not torch.cuda.is_available():
        print("benchmarks.gpu: no GPU here; --smoke only shows that it runs", file=sys.stderr)
        return 2
    bench = Bench(options.out, SMOKE if options.smoke else PAPER, options.seconds)
    make_ready("bf16", bench.device)
    machine(bench)
    agreement(bench)
    work = work_of_a_clip(bench)
    steps(bench, bench.scale.cases, work)
    for section in (kernels, views, features, resume, nccl):
        section(bench)
    steps(bench, bench.scale.late, work)
    (options.out / "gpu.md").write_text(table(bench.rows))
    print(table(bench.rows))
    return 1 if bench.failed else 0


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


def timed(bench: Bench, call: Callable[[], object], warm_up: int, times: int) -> list[float]:
    """Seconds of each of `times` calls, the device waited for."""
    for _ in range(warm_up):
        call()
    found = []
    for _ in range(times):
        wait(bench.device)
        start = time.perf_counter()
        call()
        wait(bench.device)
        found.append(time.perf_counter() - start)
    return found


def wait(device: torch.device) -> None:
    """Until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize()


def agreement(bench: Bench) -> None:
    """bf16 against fp32, ours against torchvision: losses, maps and gradients of one step."""
    with bench.part("agreement") as go:
        if not go:
            return
        size = bench.scale.base
        exact, rough = (Step(bench, Case("ours", size, name)) for name in ("fp32", "bf16"))
        with exact_matmul():
            first = {name: float(value.detach()) for name, value in exact().items()}
        second = {name: float(value.detach()) for name, value in rough().items()}
        names = [f"{term}/{side}" for term in ("contrast", "attention") for side in "va"]
        bench.tell("agreement", what="bf16 and fp32", losses={name: [first[name], second[name]] for name in names})
        pairs = zip(exact.objective.query.named_parameters(), rough.objective.query.named_parameters(), strict=True)
        angles = {
            name: float(torch.cosine_similarity(p.grad.flatten(), q.grad.flatten(), 0))
            for (name, p), (_, q) in pairs
            if p.grad is not None and q.grad is not None and p.dim() > 1
        }
        worst = sorted(angles, key=lambda name: angles[name])[:3]
        middle = statistics.median(angles.values())
        bench.tell("agreement", what="gradients", median_cosine=middle, worst={name: angles[name] for name in worst})
    with bench.part("agreement", what="torchvision") as go:
        if go and bench.scale is PAPER:
            against_torchvision(bench)


def against_torchvision(bench: Bench) -> None:
    """The video network's map and torchvision's with the same weights, fp32."""
    from benchmarks.gpu_variants import Plain

    step = Step(bench, Case("ours", bench.scale.base, "fp32"))
    ours = step.objective.query.encoders["video"]
    plain = Plain().to(bench.device).train()
    plain.net.load_state_dict(ours.state_dict(), strict=True)
    with exact_matmul(), torch.no_grad():
        a, b = ours(step.batch.frames), plain(step.batch.frames)
    bench.tell("agreement", what="torchvision, fp32", relative_error=_off(a, b))


def _off(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-12))


@contextmanager
def exact_matmul() -> Iterator[None]:
    """fp32 products and convolutions without TF32."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def steps(bench: Bench, cases: Sequence[Case], work: float) -> None:
    """Each case: clips/s, MFU, shares of the ceilings, peak memory, seconds until it was warm."""
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
            times = timed(bench, step, 0, STEPS)
            rate = case.batch / statistics.median(times)
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
        step = Step(bench, Case("ours", size))
        with FlopCounterMode(display=False) as counter:
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
        step = Step(bench, Case("ours", 64))
        for _ in range(WARM_UP):
            step()
        activities = [torch.profiler.ProfilerActivity.CUDA, torch.profiler.ProfilerActivity.CPU]
        with torch.profiler.profile(activities=activities) as profile:
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
    """The video network as evaluations run it: forward alone, bf16."""
    for name in ("ours", "plain, channels last") if bench.scale is PAPER else ("ours",):
        with bench.part("features", variant=name) as go:
            if not go:
                continue
            step = Step(bench, Case(name, bench.scale.base * 4))
            network = step.objective.query.encoders["video"].eval()

            @torch.no_grad()
            def forward(network: Any = network, step: Step = step) -> None:
                with autocast("bf16", bench.device):
                    network(step.batch.frames)

            seconds = statistics.median(timed(bench, forward, 3, 6))
            bench.tell("features", variant=name, clips_per_s=round(bench.scale.base * 4 / seconds, 1))


def resume(bench: Bench) -> None:
    """Four steps in one go, and two, a copy of the state, and two more; the same again from the start as a control."""
    for deterministic in (False, True):
        with bench.part("resume", deterministic=deterministic) as go:
            if not go:
                continue
            torch.backends.cudnn.deterministic = deterministic
            torch.backends.cudnn.benchmark = not deterministic
            try:
                bench.tell("resume", deterministic=deterministic, **resumed(bench))
            finally:
                torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark = False, True


def resumed(bench: Bench) -> dict[str, float]:
    """Largest differences of any weight after four steps: of the run gone on with, and of a second whole run."""
    case = Case("ours", bench.scale.base)
    whole, second, again = (Step(bench, case) for _ in range(3))
    for step in (whole, second):
        step()
        step()
    state = copy.deepcopy((whole.objective.state_dict(), whole.optimizer.state_dict()))
    again.objective.load_state_dict(state[0])
    again.optimizer.load_state_dict(state[1])
    for step in (whole, second, again):
        step()
        step()
    return {"resumed": apart(whole, again), "second_run": apart(whole, second)}


def apart(a: Step, b: Step) -> float:
    """The largest difference of any tensor in two states."""
    pairs = zip(a.objective.state_dict().values(), b.objective.state_dict().values(), strict=True)
    return max(float((p.double() - q.double()).abs().max()) for p, q in pairs if isinstance(p, Tensor))


def nccl(bench: Bench) -> None:
    """One rank over NCCL (gloo without a GPU): DistributedDataParallel gives the step's own gradients."""
    with bench.part("nccl") as go:
        if not go:
            return
        store = (bench.out / "store").resolve()
        store.unlink(missing_ok=True)
        backend = "nccl" if bench.device.type == "cuda" else "gloo"
        torch.distributed.init_process_group(backend, init_method=f"file://{store}", rank=0, world_size=1)
        try:
            alone, wrapped = (Step(bench, Case("ours", bench.scale.base, "fp32")) for _ in range(2))
            wrapped.objective.wrap_query(lambda query: torch.nn.parallel.DistributedDataParallel(query))
            with exact_matmul():
                a, b = alone(), wrapped()
            pairs = zip(alone.objective.trained(), wrapped.objective.trained(), strict=True)
            off = [_off(q.grad, p.grad) for p, q in pairs if p.grad is not None and q.grad is not None]
            bench.tell("nccl", backend=backend, loss=abs(float((a["total"] - b["total"]).detach())), gradients=max(off))
        finally:
            torch.distributed.destroy_process_group()


def table(rows: list[dict[str, Any]]) -> str:
    """The step's cases in Markdown."""
    head = ["variant", "batch", "precision", "BN group", "clips/s", "MFU %", "% of eager", "% of fused", "peak GB"]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    keys = ("clips_per_s", "mfu", "of_eager", "of_fused", "peak_gb")
    for row in (row for row in rows if row["section"] == "step"):
        cells = [row["variant"], row["batch"], row["precision"], row["group"] or 16]
        cells += [row.get(key, row.get("failed", "left out")[:40]) for key in keys]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
