"""How others name the tensors of the same networks (METHOD 3.4), and why some networks are others."""

from collections import Counter
from collections.abc import Mapping
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from cmac_core.models.encoders import build_audio, build_video
from cmac_core.models.r2plus1d import middle_channels
from cmac_core.specs.jobs import WeightsLayout
from cmac_core.specs.method import Model
from cmac_core.training.checkpoint import misfits
from cmac_core.training.errors import UserError

Tensors = Mapping[str, Tensor]
Known = Literal["torchvision", "gdt", "selavi", "ours"]

# Where a layout keeps an encoder's tensors, in front of torchvision's names.
PREFIXES: dict[Known, dict[str, str]] = {
    "torchvision": {"video": ""},
    "gdt": {"video": "video_network.base.", "audio": "audio_network.base."},
    "selavi": {"video": "video_network.base.", "audio": "audio_network.base."},
    "ours": {"video": "video.", "audio": "audio."},
}
CLASSIFIER = "fc."
COUNTER = "num_batches_tracked"


class Weights(NamedTuple):
    """Encoders in torchvision's names, fp32, and how many tensors of each other group were left out."""

    layout: Known
    model: Model
    encoders: dict[str, dict[str, Tensor]]
    left_out: dict[str, int]


def recognise(tensors: Tensors, asked: WeightsLayout, described: Model | None = None) -> Weights:
    """The encoders among these tensors. `described`: the networks that a file of ours says it holds.

    Raises UserError: XDC's or AVID's networks (with the reason), names or shapes that do not fit, values that are
    not finite.
    """
    _refuse_others(tensors)
    layout = _found(tensors)
    if layout is None or (asked not in ("auto", layout) and {asked, layout} != {"gdt", "selavi"}):
        raise _unknown(tensors, asked, layout)
    if asked in ("gdt", "selavi"):
        layout = asked
    encoders: dict[str, dict[str, Tensor]] = {}
    taken: set[str] = set()
    for modality, prefix in PREFIXES[layout].items():
        names = [name for name in tensors if name.startswith(prefix) and not name.startswith(prefix + CLASSIFIER)]
        if names:
            encoders[modality] = {name.removeprefix(prefix): _fp32(tensors[name]) for name in names}
            taken.update(names)
    model = described or _model_of(encoders)
    for modality, weights in encoders.items():
        _complete(weights)
        _check(modality, model, weights)
    return Weights(layout, model, encoders, dict(Counter(_group(name) for name in tensors if name not in taken)))


def _found(tensors: Tensors) -> Known | None:
    """GDT and SeLaVi differ in their heads alone: SeLaVi's are numbered, or its sound network has no classifier."""
    if any(name.startswith("video_network.base.") for name in tensors):
        numbered = any(name.startswith("mlp_v0.") for name in tensors)
        return "gdt" if "audio_network.base.fc.weight" in tensors and not numbered else "selavi"
    if "stem.0.weight" in tensors:
        return "torchvision"
    return "ours" if all(name.startswith(("video.", "audio.")) for name in tensors) else None


def _refuse_others(tensors: Tensors) -> None:
    """Networks that look alike and are not the same function. Raises UserError."""
    stem = tensors.get("video_model.conv1.0.weight", tensors.get("conv1.0.weight"))
    if stem is not None and stem.ndim == 5:
        raise UserError(
            f"source: these are AVID's networks: the stem is one full convolution of {_shape(stem)} with a max-pool "
            "behind it, blocks are normalised after the sum, and sound goes through a plain ten-layer network on a "
            "linear frequency axis. None of this is R(2+1)D-18 or ResNet-9, so the weights do not fit",
            "Import weights of torchvision, GDT or SeLaVi.",
        )
    stem, second = (_under(tensors, name) for name in ("stem.3.weight", "layer2.0.conv2.0.0.weight"))
    if stem is None or second is None or second.ndim != 5:
        return
    width = stem.shape[0]
    ours, theirs = middle_channels(width, 2 * width), middle_channels(2 * width, 2 * width)
    if len(second) == theirs:
        total = sum(value.numel() for name, value in tensors.items() if _is_parameter(name))
        raise UserError(
            "source: this is the R(2+1)D-18 of XDC and VMZ: it computes the middle channels anew for each convolution "
            f"(layer2.0.conv2 has {theirs}, torchvision's and ours {ours}; {total:,} parameters, not 31,300,125), and "
            "its batch norm has eps 1e-3, not 1e-5. So the weights do not fit",
            "Import weights of torchvision, GDT or SeLaVi.",
        )


def _under(tensors: Tensors, name: str) -> Tensor | None:
    return tensors.get(name, tensors.get(f"video_network.base.{name}"))


def _is_parameter(name: str) -> bool:
    return not name.endswith(("running_mean", "running_var", COUNTER)) and not name.startswith(CLASSIFIER)


def _unknown(tensors: Tensors, asked: WeightsLayout, found: Known | None) -> UserError:
    first = ", ".join(f"{name} {_shape(value)}" for name, value in list(tensors.items())[:4])
    what = f"source: {len(tensors)} tensors, the first {first}"
    if found is not None:
        return UserError(f"{what}: these are names of layout {found}, not of {asked}", "Set layout to auto.")
    known = "torchvision (stem.0.weight), gdt and selavi (video_network.base.stem.0.weight), ours (video.stem.0.weight)"
    return UserError(f"{what}: this is no layout that is known", f"Known: {known}.")


def _model_of(encoders: Mapping[str, Tensors]) -> Model:
    """Width and depth, by the shapes. Raises UserError where they cannot be told."""
    widths: dict[str, int] = {}
    for modality, name in (("video", "stem.3.weight"), ("audio", "conv1.weight")):
        if modality in encoders:
            if name not in encoders[modality]:
                network = Model().video if modality == "video" else Model().audio
                message = f"source: the {modality} encoder is no {network}: it has no {name}"
                raise UserError(message, "Import weights of torchvision's r2plus1d_18, GDT or SeLaVi.")
            widths[modality] = len(encoders[modality][name])
    if len(set(widths.values())) > 1:
        told = " and ".join(f"{width} ({modality})" for modality, width in widths.items())
        raise UserError(f"source: the encoders are {told} channels wide in their first stage; both must be the same")
    deep = "video" not in encoders or any(name.startswith("layer1.1.") for name in encoders["video"])
    return Model(width=next(iter(widths.values())), depth=2 if deep else 1)


def _complete(weights: dict[str, Tensor]) -> None:
    """Files of early versions of torch have no counters."""
    for name in [name for name in weights if name.endswith("running_var")]:
        weights.setdefault(name.replace("running_var", COUNTER), torch.tensor(0))


def _check(modality: str, model: Model, weights: Tensors) -> None:
    build = build_video if modality == "video" else build_audio
    with torch.device("meta"):
        faults = misfits(build(model), weights)
    if faults:
        raise UserError(
            f"source: {len(faults)} of {len(weights)} tensors do not fit the {modality} encoder "
            f"({model.video if modality == 'video' else model.audio}, width {model.width}): {'; '.join(faults[:4])}",
            "Its names are right and its network is another one.",
        )
    broken = [name for name, value in weights.items() if not value.isfinite().all()]
    if broken:
        count = f"{len(broken)} of {len(weights)} tensors of the {modality} encoder"
        message = f"source: {count} have values that are not finite, first {broken[0]}"
        raise UserError(message, "That training diverged; take an earlier file.")


def _fp32(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _group(name: str) -> str:
    """What a tensor belongs to: the module in front of its own name, to the depth that tells."""
    parts = name.split(".")
    return ".".join(parts[:-1][:3]) if name.startswith(("video_network", "audio_network")) else parts[0]


def _shape(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "()"
