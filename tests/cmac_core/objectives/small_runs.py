"""Small specs and batches for the tests of the objective; also run by the two ranks of `two_ranks.py`."""

import torch
from torch import nn

from cmac_core.objectives.cmac import Batch, Cmac, build_objective, clips_per_video
from cmac_core.specs.jobs import Pretrain

# Every row of METHOD 8's Tables 1 to 3, and the variants of METHOD 13.
ROWS: dict[str, dict[str, object]] = {
    "full": {},
    "single": {"objective": "single_v", "loss": {"lambda_ac": 0}},
    "single_a": {"objective": "single_a"},
    "no_cl": {"contrastive": {"use": False}},
    "no_ac": {"loss": {"lambda_ac": 0}},
    "none": {"pcf": {"norm": "none", "scales": 1}},
    "softmax": {"pcf": {"norm": "softmax", "scales": 1}},
    "cos1": {"pcf": {"scales": 1}},
    "cos3": {"pcf": {"scales": 3}},
    "00": {"contrastive": {"wi_neg": False}},
    "01": {"contrastive": {"wi_neg": False, "wi_pos": True}},
    "11": {"contrastive": {"wi_pos": True}},
    "baseline": {"contrastive": {"wi_neg": False}, "loss": {"lambda_ac": 0}},
    "projected": {"preset": "projected"},
    "ema": {"pcf": {"center": "ema"}},
    "no_cl_centered": {"contrastive": {"use": False}, "pcf": {"center": "batch"}},
    "aligned": {"moco": {"key_bn": "aligned"}},
    "by_contrast": {"loss": {"ramp": {"by": "contrast", "start": 0, "end": 0.5}}},
    "mean": {"loss": {"ac_reduction": "mean"}},
}

# METHOD 6's other choices, one at a time and where they meet.
OPTIONS: dict[str, dict[str, object]] = {
    "g_kernel": {"model": {"g_kernel": 3}},
    "g_relu": {"model": {"g_relu": True}},
    "mlp2": {"model": {"head": {"dim": 6, "type": "mlp2"}}},
    "gdt_head": {"model": {"head": {"dim": 6, "type": "gdt", "shared": False}}},
    "no_bias": {"model": {"head": {"dim": 6, "bias": False}}},
    "relu_cos": {"pcf": {"norm": "relu_cos"}},
    "minmax": {"pcf": {"norm": "minmax"}},
    "max": {"pcf": {"fuse": "max", "scales": 3}},
    "product": {"pcf": {"fuse": "product"}},
    "space": {"pcf": {"pool": ["space"]}},
    "kappa_per_scale": {"pcf": {"kappa_per_scale": True, "scales": 3}},
    "flow": {"pcf": {"target_grad": "flow"}},
    "kappa": {"pcf": {"target_grad": "kappa"}},
    "flow_projected": {"preset": "projected", "pcf": {"target_grad": "flow"}},
    "flow_no_cl": {"pcf": {"target_grad": "flow"}, "contrastive": {"use": False}},
    "kappa_no_cl": {"pcf": {"target_grad": "kappa"}, "contrastive": {"use": False}},
    "key_source": {"pcf": {"source": "key"}},
    "key_source_projected": {"preset": "projected", "pcf": {"source": "key"}, "moco": {"key_bn": "aligned"}},
    "per_modality": {"loss": {"ac_reduction": "per_modality"}},
    "video_alone": {"loss": {"ac_weight": {"audio": 0}}},
    "share": {"loss": {"ac_share": 0.01}},
    "inbatch": {"moco": {"inbatch_negatives": True}},
    "inbatch_11": {"moco": {"inbatch_negatives": True}, "contrastive": {"wi_pos": True}},
    "inbatch_single": {"moco": {"inbatch_negatives": True}, "objective": "single_v"},
    "same_clip": {"objective": "single_a", "single": {"pair": "same_clip"}},
    "sync": {"model": {"bn": "sync"}, "moco": {"key_bn": "sync"}},
    "key_sync": {"moco": {"key_bn": "sync"}},
}


def small(row: dict[str, object], **more: object) -> Pretrain:
    """A row's spec with networks of width 2, BN groups of 2 and batches of 8."""
    base: dict[str, object] = {"dataset": "toy", "preset": "paper", "seed": 3}
    body = {**base, **row, **more}
    for part, values in {
        "model": {"width": 2, "bn_group": 2},
        "moco": {"K": 20, "m": 0.9},
        "optim": {"batch": 8},
    }.items():
        own = body.get(part, {})
        assert isinstance(own, dict)
        body[part] = values | own
    head = {"dim": 6, **({"shared": False} if row.get("preset") == "projected" else {})}
    body["model"] = {"head": head, "saliency": {"hidden": 4}, **body["model"]}  # type: ignore[dict-item]
    return Pretrain.model_validate(body)


def batch(spec: Pretrain, step: int = 0) -> Batch:
    """The global batch of a step: fixed noise."""
    draw = torch.Generator().manual_seed(100 + step)
    takes = clips_per_video(spec)
    clips = spec.optim.batch * (takes if spec.objective != "cmac" else 1)
    frames = torch.randn(clips, 3, 4, 32, 32, generator=draw)
    spectrogram = torch.randn(clips, 1, 48, 40, generator=draw)
    return Batch(
        None if spec.objective == "single_a" else frames,
        None if spec.objective == "single_v" else spectrogram,
        torch.arange(clips) // takes + step,  # some videos come again
    )


def train(objective: Cmac, batches: list[Batch], lr: float = 0.01) -> list[dict[str, torch.Tensor]]:
    """The steps of METHOD 5 in their order. Gradients of the last one stay."""
    wanted = [parameter for parameter in objective.query.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(wanted, lr=lr)
    losses = []
    for number, one in enumerate(batches):
        optimizer.zero_grad()
        objective.update_momentum()
        losses.append(objective.losses(one, train_epoch=2.0 + number))
        losses[-1]["total"].backward()
        optimizer.step()
        objective.enqueue()
    return losses


def without_gradient(module: nn.Module) -> list[str]:
    """Names of trainable parameters that no loss reached."""
    return [name for name, p in module.named_parameters() if p.requires_grad and p.grad is None]


def built(name: str, **more: object) -> tuple[Pretrain, Cmac]:
    """The spec of a row and its objective, in train mode."""
    spec = small((ROWS | OPTIONS)[name], **more)
    return spec, build_objective(spec).train()
