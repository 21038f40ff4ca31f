"""Is the step right on this device: precisions, layouts, resuming, NCCL."""

import copy
import statistics

import torch
from torch import Tensor

from benchmarks.gpu.step import PAPER, Bench, Case, Step, exact_matmul, untuned
from benchmarks.gpu.variants import Plain

TRAINED = 10


def agreement(bench: Bench) -> None:
    """A training on fused networks against the library's; bf16 against fp32, of torchvision's network too."""
    with bench.part("agreement", what="fused and library") as go:
        if go:
            same_training(bench)
    for variant in ("ours", "plain, NCDHW") if bench.scale is PAPER else ("ours",):
        with bench.part("agreement", variant=variant) as go:
            if go:
                between_precisions(bench, variant)
    with bench.part("agreement", what="torchvision") as go:
        if go and bench.scale is PAPER:
            against_torchvision(bench)


def same_training(bench: Bench) -> None:
    """The largest relative difference of the loss in ten steps of the same training, fp32."""
    fused, library = (Step(bench, Case(variant, bench.scale.base, "fp32")) for variant in ("ours", "ours, as on a CPU"))
    library.objective.load_state_dict(fused.objective.state_dict())
    off = []
    with exact_matmul():
        for _ in range(TRAINED):
            a, b = (float(step()["total"].detach()) for step in (fused, library))
            off.append(abs(a - b) / b)
    bench.tell("agreement", what="fused and library, fp32", first_step=off[0], steps=TRAINED, largest=max(off))


def between_precisions(bench: Bench, variant: str) -> None:
    """Losses of both, and the cosine between their gradients. At random weights it is low, whoever computes it."""
    exact, rough = (Step(bench, Case(variant, bench.scale.base, name)) for name in ("fp32", "bf16"))
    with exact_matmul():
        first = exact()
    with untuned():
        second = rough()
    names = [f"{term}/{side}" for term in ("contrast", "attention") for side in "va"]
    losses = {name: [float(first[name]), float(second[name])] for name in names}
    pairs = zip(exact.objective.trained(), rough.objective.trained(), strict=True)
    angles = [
        float(torch.cosine_similarity(p.grad.flatten(), q.grad.flatten(), 0))
        for p, q in pairs
        if p.grad is not None and q.grad is not None and p.dim() > 1
    ]
    found = {"median_cosine": round(statistics.median(angles), 3), "least_cosine": round(min(angles), 3)}
    bench.tell("agreement", variant=variant, losses=losses, **found)


def against_torchvision(bench: Bench) -> None:
    """The video network's map and torchvision's with the same weights, fp32."""
    step = Step(bench, Case("ours", bench.scale.base, "fp32"))
    ours = step.objective.query.encoders["video"]
    plain = Plain().to(bench.device).train()
    plain.net.load_state_dict(ours.state_dict(), strict=True)
    with exact_matmul(), torch.no_grad():
        a, b = ours(step.batch.frames), plain(step.batch.frames)
    bench.tell("agreement", what="torchvision, fp32", relative_error=_off(a, b))


def _off(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm().clamp_min(1e-12))


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
