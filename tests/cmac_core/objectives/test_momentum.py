import itertools

import pytest
import torch

from cmac_core.models.batch_norm import GroupedBatchNorm
from cmac_core.models.branch import Branch
from cmac_core.objectives.momentum import gather_keys, key_sides, put_back, shuffled_order
from tests.cmac_core.objectives.small_runs import batch, built, train


def audio_keys(key: Branch, clips: torch.Tensor, order: torch.Tensor | None) -> torch.Tensor:
    return gather_keys(key_sides(key, {"audio": clips}, order), order)["audio"]


def test_the_key_is_the_initial_copy_at_step_1_and_follows_from_step_2() -> None:
    spec, objective = built("full")
    assert objective.key is not None
    first = {name: p.clone() for name, p in objective.key.named_parameters()}
    initial = {name: p.clone() for name, p in objective.query.named_parameters()}
    assert set(initial) - set(first) == {name for name in initial if name.startswith("saliency")}
    train(objective, [batch(spec)])
    stepped = {name: p.detach().clone() for name, p in objective.query.named_parameters()}
    for name, p in objective.key.named_parameters():
        assert torch.equal(p, initial[name]), name
        assert not p.requires_grad
    objective.update_momentum()
    for name, p in objective.key.named_parameters():
        torch.testing.assert_close(p, 0.9 * first[name] + 0.1 * stepped[name])
    assert any(not torch.equal(p, first[name]) for name, p in objective.key.named_parameters())


def test_buffers_of_the_keys_batch_norm_are_its_own() -> None:
    spec, objective = built("full")
    train(objective, [batch(spec)])
    assert objective.key is not None
    query = dict(objective.query.named_buffers())
    name = "encoders.video.stem.1.running_var"
    key = dict(objective.key.named_buffers())[name]
    assert not torch.equal(key, torch.ones_like(key))
    assert not torch.equal(key, query[name])


def test_shuffled_keys_see_other_groups_and_come_back_in_order() -> None:
    spec, objective = built("full")
    assert objective.key is not None
    one = batch(spec)
    assert one.spectrogram is not None
    aligned = audio_keys(objective.key, one.spectrogram, None)
    order = shuffled_order(8, seed=3, step=0)
    shuffled = audio_keys(objective.key, one.spectrogram, order)
    assert not torch.allclose(aligned, shuffled, atol=1e-3)
    objective.key.eval()  # without batch statistics, groups do not matter
    torch.testing.assert_close(
        audio_keys(objective.key, one.spectrogram, order), audio_keys(objective.key, one.spectrogram, None)
    )


def test_maps_of_shuffled_clips_come_back_in_order() -> None:
    spec, objective = built("full")
    assert objective.key is not None
    spectrogram = batch(spec).spectrogram
    assert spectrogram is not None
    key, order = objective.key.eval(), shuffled_order(8, seed=3, step=0)
    shuffled = key_sides(key, {"audio": spectrogram}, order)["audio"]
    straight = key_sides(key, {"audio": spectrogram}, None)["audio"]
    assert not torch.allclose(shuffled.filtered, straight.filtered, atol=1e-3)
    back = put_back(shuffled, order)
    torch.testing.assert_close(back.filtered, straight.filtered)
    torch.testing.assert_close(back.kernel, straight.kernel)


def test_the_order_is_another_at_each_step_and_the_same_for_all_ranks() -> None:
    orders = [shuffled_order(16, seed=0, step=step) for step in range(3)]
    assert all(sorted(order.tolist()) == list(range(16)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[1], shuffled_order(16, seed=0, step=1))


def test_how_keys_are_normalised_changes_the_loss() -> None:
    losses = {}
    for key_bn in ("shuffle", "aligned", "sync"):
        spec, objective = built("full", moco={"key_bn": key_bn})
        losses[key_bn] = train(objective, [batch(spec)])[0]["contrast/v"].item()
    for one, other in itertools.combinations(losses, 2):
        assert losses[one] != pytest.approx(losses[other], rel=1e-3)


def test_with_sync_the_keys_are_one_group() -> None:
    spec, objective = built("key_sync")
    spectrogram = batch(spec).spectrogram
    assert objective.key is not None
    assert spectrogram is not None
    whole = objective.query.encoders["audio"]
    for part in whole.modules():
        if isinstance(part, GroupedBatchNorm):
            assert part.group == 2
            part.group = 8
    keys = audio_keys(objective.key, spectrogram, None)
    torch.testing.assert_close(keys, embedded(objective.query, spectrogram))


def embedded(query: Branch, spectrogram: torch.Tensor) -> torch.Tensor:
    """Embeddings by a query model whose g is one group too."""
    norm = query.filters["audio"][1]  # type: ignore[index]
    norm.group = 8
    embedding = query(None, spectrogram).audio.embedding
    assert embedding is not None
    return embedding.detach()
