import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from cmac_core.models.branch import Modality, Side
from cmac_core.objectives.contrast import Contrast, StepKeys
from cmac_core.specs.method import Contrastive, Moco

BOTH: tuple[Modality, ...] = ("video", "audio")
TAU = 0.07


def contrast(dim: int = 6, K: int = 10, modalities: tuple[Modality, ...] = BOTH, **options: bool) -> Contrast:
    moco = {name: options.pop(name) for name in ("mask_same_video",) if name in options}
    return Contrast(modalities, dim, Contrastive(**options), Moco(K=K, **moco), seed=0)


def units(clips: int, dim: int, seed: int) -> torch.Tensor:
    return F.normalize(torch.randn(clips, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


def sides(queries: dict[Modality, torch.Tensor]) -> dict[Modality, Side]:
    return {name: Side(rows, rows, rows, None) for name, rows in queries.items()}


def written_out(query: np.ndarray, positive: np.ndarray, negatives: list[np.ndarray]) -> float:
    top = math.exp(query @ positive / TAU)
    return -math.log(top / (top + sum(math.exp(query @ negative / TAU) for negative in negatives)))


@pytest.mark.parametrize("wi_neg", [True, False])
@pytest.mark.parametrize("wi_pos", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_it_is_equation_7_written_out(wi_neg: bool, wi_pos: bool, mask: bool) -> None:
    module = contrast(wi_neg=wi_neg, wi_pos=wi_pos, mask_same_video=mask)
    queries: dict[Modality, torch.Tensor] = {"video": units(4, 6, 1), "audio": units(4, 6, 2)}
    older: dict[Modality, torch.Tensor] = {"video": units(4, 6, 5), "audio": units(4, 6, 6)}
    for name in BOTH:  # the earlier key of video 1 is near to what asks now, so that its mask matters
        older[name][1] = F.normalize(queries["video"][0] + queries["audio"][1], dim=0)
    module.enqueue(older, torch.tensor([0, 1, 2, 3]))
    keys: dict[Modality, torch.Tensor] = {"video": units(4, 6, 3), "audio": units(4, 6, 4)}
    videos = torch.tensor([1, 1, 8, 8])
    parts = module(sides(queries), keys, videos)
    for name, other, letter in (("video", "audio", "v"), ("audio", "video", "a")):
        cross, partner = [], []
        for clip in range(4):
            negatives = []
            for source in [other] + ([name] if wi_neg else []):
                queue = module.queues[source]
                rows = zip(queue.keys.numpy(), queue.videos.tolist(), strict=True)
                negatives += [key for key, video in rows if not mask or video != videos[clip]]
            query = queries[name][clip].numpy()
            cross.append(written_out(query, keys[other][clip].numpy(), negatives))
            partner.append(written_out(query, keys[name][clip ^ 1].numpy(), negatives))
        assert parts[f"contrast/{letter}"].item() == pytest.approx(np.mean(cross), rel=1e-4)
        if wi_pos:
            assert parts[f"partner/{letter}"].item() == pytest.approx(np.mean(partner), rel=1e-4)
    assert ("partner/v" in parts) is wi_pos


@pytest.mark.parametrize("wi_neg", [True, False])
@pytest.mark.parametrize("mask", [True, False])
def test_the_steps_other_videos_may_be_negatives_too(wi_neg: bool, mask: bool) -> None:
    module = contrast(wi_neg=wi_neg, wi_pos=True, mask_same_video=mask)
    queries: dict[Modality, torch.Tensor] = {"video": units(4, 6, 1), "audio": units(4, 6, 2)}
    keys: dict[Modality, torch.Tensor] = {"video": units(8, 6, 3), "audio": units(8, 6, 4)}
    videos = torch.tensor([1, 1, 8, 8, 3, 3, 4, 4])  # of both ranks; this one is the second
    own = {name: rows[4:] for name, rows in keys.items()}
    parts = module(sides(queries), own, videos[4:], StepKeys(keys, videos))
    for name, other, letter in (("video", "audio", "v"), ("audio", "video", "a")):
        cross, partner = [], []
        for clip in range(4):
            sources = [other] + ([name] if wi_neg else [])
            negatives = [key for source in sources for key in module.queues[source].keys.numpy()]
            negatives += [
                keys[source][i].numpy() for source in sources for i in range(8) if videos[i] != videos[4 + clip]
            ]
            query = queries[name][clip].numpy()
            cross.append(written_out(query, own[other][clip].numpy(), negatives))
            partner.append(written_out(query, own[name][clip ^ 1].numpy(), negatives))
        assert parts[f"contrast/{letter}"].item() == pytest.approx(np.mean(cross), rel=1e-4)
        assert parts[f"partner/{letter}"].item() == pytest.approx(np.mean(partner), rel=1e-4)


def test_negatives_of_the_step_raise_chance() -> None:
    assert contrast().chance == pytest.approx(2 * math.log(21))
    module = Contrast(BOTH, 6, Contrastive(), Moco(K=10), seed=0, others=6)
    nothing = {name: torch.zeros(8, 6) for name in BOTH}
    videos = torch.arange(8) // 2
    parts = module(sides(nothing), nothing, videos, StepKeys(nothing, videos))
    assert module.chance == pytest.approx(2 * parts["contrast/v"].item(), rel=1e-6)


def test_one_modality_has_its_own_queue_and_no_other() -> None:
    module = contrast(modalities=("audio",))
    query, key = units(3, 6, 1), units(3, 6, 2)
    parts = module(sides({"audio": query}), {"audio": key}, torch.arange(3))
    negatives = list(module.queues["audio"].keys.numpy())
    expected = np.mean([written_out(q, k, negatives) for q, k in zip(query.numpy(), key.numpy(), strict=True)])
    assert parts["contrast/a"].item() == pytest.approx(expected, rel=1e-5)
    assert module.chance == pytest.approx(math.log(11))


@pytest.mark.parametrize(("wi_neg", "equal", "random"), [(True, 10.309, 10.71), (False, 9.616, 10.02)])
def test_the_losses_of_a_model_that_knows_nothing(wi_neg: bool, equal: float, random: float) -> None:
    module = contrast(dim=256, K=15_000, wi_neg=wi_neg)
    nothing = torch.zeros(2, 256)
    parts = module(sides({"video": nothing, "audio": nothing}), {"video": nothing, "audio": nothing}, torch.arange(2))
    assert parts["contrast/v"].item() == pytest.approx(equal, abs=1e-3)
    assert module.chance == pytest.approx(2 * equal, abs=2e-3)
    queries: dict[Modality, torch.Tensor] = {"video": units(32, 256, 1), "audio": units(32, 256, 2)}
    right_angles = {name: torch.zeros(32, 256) for name in BOTH}
    parts = module(sides(queries), right_angles, torch.arange(32))
    assert parts["contrast/v"].item() == pytest.approx(random, abs=0.02)


def test_keys_of_the_queue_get_no_gradient_and_queries_do() -> None:
    module = contrast()
    query = units(2, 6, 1).requires_grad_()
    parts = module(sides({"video": query, "audio": query}), {name: units(2, 6, 3) for name in BOTH}, torch.arange(2))
    parts["contrast/v"].backward()
    assert query.grad is not None
    assert not any(buffer.requires_grad for buffer in module.buffers())


def test_the_positive_on_top_is_counted() -> None:
    module = contrast()
    rows = units(4, 6, 1)
    same = {name: rows for name in BOTH}
    parts = module(sides(same), same, torch.arange(4))
    assert parts["contrast/top1_v"] == 1
    parts = module(sides(same), {name: -rows for name in BOTH}, torch.arange(4))
    assert parts["contrast/top1_v"] == 0
    module.enqueue(same, torch.arange(4))
    assert module(sides(same), same, torch.arange(4))["contrast/masked_v"] == pytest.approx(4 * 2 / (4 * 20))
