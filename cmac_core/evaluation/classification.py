"""A fine-tuned classifier on test videos: softmax averaged over clips and crops (METHOD 7.1)."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from cmac_core.data.dataset import Fold, PackedDataset
from cmac_core.evaluation.features import Reduction, Seen, View, extract
from cmac_core.evaluation.probe import chance_accuracy
from cmac_core.evaluation.showing import Preparation
from cmac_core.evaluation.values import share
from cmac_core.events import Value
from cmac_core.specs import Finetune
from cmac_core.specs.jobs import Precision
from cmac_core.training.precision import autocast
from cmac_core.training.run import Run

TOP = 5  # reported where there are more classes than this
SOFTMAX = "softmax"
MEAN = Reduction("mean", lambda clips_nC: clips_nC.mean(0))


# Shape suffixes: V videos, n clips a video, B clips, C classes.
def classify(
    run: Run, dataset: PackedDataset, network: nn.Module, spec: Finetune, prepare: Preparation, videos: Sequence[int]
) -> Tensor:
    """Mean softmax of these videos, (V, C) on the CPU. Raises Left when asked to, DataError."""
    shown = PackedDataset(dataset.folder, [dataset.clips[i] for i in videos], dataset.summary)
    view = classifier_view(network.eval(), prepare, spec.spatial_crops, spec.precision)
    found = extract(run, shown, spec.n_clips, spec.batch, prepare, [view], MEAN)
    return found[SOFTMAX].cpu()


def classifier_view(network: nn.Module, prepare: Preparation, crops: int, precision: Precision) -> View:
    """Softmax of each clip, averaged over its crops: the center alone, or both ends of the long side too."""
    places = np.linspace(0, 1, crops).tolist() if crops > 1 else [0.5]

    def see(seen: Seen) -> dict[str, Tensor]:
        rows = []
        for at in places:
            frames = seen.shown.frames if at == 0.5 else prepare.frames(seen.windows, at)
            assert frames is not None
            with autocast(precision, frames.device):
                rows.append(network(frames).softmax(1))
        return {SOFTMAX: torch.stack(rows).mean(0)}

    return View((SOFTMAX,), see)


def accuracies(softmax_VC: Tensor, fold: Fold, labels: Sequence[str], classes: Sequence[str]) -> list[Value]:
    """Accuracy of the test videos, and top-5 accuracy where there are more than five classes."""
    train, test = ([labels[i] for i in side] for side in (fold.train, fold.test))
    target_V = torch.tensor([classes.index(label) for label in test])
    found = []
    for k in (1, TOP) if len(classes) > TOP else (1,):
        # Sorted stably, so that of equals the first class counts, as for argmax.
        best_Vk = softmax_VC.sort(dim=1, descending=True, stable=True).indices[:, :k]
        hits = int((best_Vk == target_V[:, None]).sum())
        found.append(
            share(
                "accuracy" if k == 1 else f"top{k}_accuracy",
                hits / len(test),
                len(test),
                modality="video",
                chance=chance_accuracy(train, test, k),
                selection="last",
            )
        )
    return found
