import pytest
import torch

from cmac_core.objectives.momentum import encode_keys, shuffled_order
from tests.cmac_core.objectives.small_runs import batch, built, train


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
    clips = {"audio": one.spectrogram}
    aligned = encode_keys(objective.key, clips, None)["audio"]  # type: ignore[arg-type]
    order = shuffled_order(8, seed=3, step=0)
    shuffled = encode_keys(objective.key, clips, order)["audio"]  # type: ignore[arg-type]
    assert not torch.allclose(aligned, shuffled, atol=1e-3)
    objective.key.eval()  # without batch statistics, groups do not matter
    torch.testing.assert_close(
        encode_keys(objective.key, clips, order)["audio"],  # type: ignore[arg-type]
        encode_keys(objective.key, clips, None)["audio"],  # type: ignore[arg-type]
    )


def test_the_order_is_another_at_each_step_and_the_same_for_all_ranks() -> None:
    orders = [shuffled_order(16, seed=0, step=step) for step in range(3)]
    assert all(sorted(order.tolist()) == list(range(16)) for order in orders)
    assert not torch.equal(orders[0], orders[1])
    assert torch.equal(orders[1], shuffled_order(16, seed=0, step=1))


def test_how_keys_are_normalised_changes_the_loss() -> None:
    losses = {}
    for key_bn in ("shuffle", "aligned"):
        spec, objective = built("full", moco={"key_bn": key_bn})
        losses[key_bn] = train(objective, [batch(spec)])[0]["contrast/v"].item()
    assert losses["shuffle"] != pytest.approx(losses["aligned"], rel=1e-3)
