import pytest
import torch

from cmac_core.objectives.cmac import Batch, build_objective, clips_per_video, modalities, videos_per_step
from tests.cmac_core.objectives.small_runs import ROWS, batch, built, small, train, without_gradient


def test_a_step_moves_the_encoders() -> None:
    spec, objective = built("full")
    before = {key: p.detach().clone() for key, p in objective.query.named_parameters()}
    train(objective, [batch(spec)])
    moved = {key for key, p in objective.query.named_parameters() if not torch.equal(p, before[key])}
    assert {key.split(".")[1] for key in moved if key.startswith("encoders")} == {"video", "audio"}


def parts(name: str) -> set[str]:
    _, objective = built(name)
    return {key.split(".")[0] for key, p in objective.query.named_parameters() if p.requires_grad} | {
        part for part in ("key", "contrast") if getattr(objective, part) is not None
    }


def test_only_what_a_run_uses_is_built() -> None:
    everything = {"encoders", "filters", "heads", "saliency", "key", "contrast"}
    assert parts("full") == everything
    assert parts("no_ac") == everything - {"saliency"}
    assert parts("no_cl") == {"encoders", "saliency"}  # g is there, frozen: its target is stopped
    assert parts("single") == everything - {"saliency"}
    assert modalities(small(ROWS["single"])) == ("video",)
    assert not any("audio" in key for key in built("single")[1].state_dict())


def test_a_frozen_filter_keeps_its_batch_norm_running() -> None:
    spec, objective = built("no_cl")
    train(objective, [batch(spec)])
    assert objective.query.filters["video"][1].num_batches_tracked == 1  # type: ignore[index]


def test_pairs_of_clips_count_as_the_paper_counts_them() -> None:
    assert (clips_per_video(small({})), videos_per_step(small({}))) == (1, 8)
    assert (clips_per_video(small(ROWS["11"])), videos_per_step(small(ROWS["11"]))) == (2, 4)  # half the videos
    assert (clips_per_video(small(ROWS["single"])), videos_per_step(small(ROWS["single"]))) == (2, 8)


def test_a_single_modality_asks_with_one_clip_and_answers_with_the_other() -> None:
    spec, objective = built("single_a")
    one = batch(spec)
    train(objective, [one])
    assert objective.contrast is not None
    assert objective.contrast.queues["audio"].videos[:9].tolist() == [*range(8), -1]
    both = Batch(None, torch.arange(8.0), torch.arange(8) // 2)
    asked, answered = both.every_other(0), both.every_other(1)
    assert (asked.spectrogram.tolist(), answered.spectrogram.tolist()) == ([0, 2, 4, 6], [1, 3, 5, 7])  # type: ignore[union-attr]
    assert asked.video_id.tolist() == answered.video_id.tolist() == [0, 1, 2, 3]


def test_logits_use_the_queue_as_it_was_before_the_step() -> None:
    spec, objective = built("full", moco={"mask_same_video": False})
    assert objective.contrast is not None
    queue = objective.contrast.queues["audio"]
    before = queue.keys.clone()
    objective.update_momentum()
    objective.losses(batch(spec), 0.0)
    assert torch.equal(queue.keys, before)
    objective.enqueue()
    assert not torch.equal(queue.keys[:8], before[:8])
    assert torch.equal(queue.keys[8:], before[8:])
    with pytest.raises(AssertionError, match="once"):
        objective.enqueue()


def test_the_seed_decides_the_weights_and_the_global_generator_is_left_alone() -> None:
    torch.manual_seed(1)
    one = build_objective(small({}))
    drawn = torch.rand(1)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), drawn)
    torch.manual_seed(2)
    same, other = build_objective(small({})), build_objective(small({}, seed=4))
    name = "query.encoders.video.stem.0.weight"
    assert torch.equal(one.state_dict()[name], same.state_dict()[name])
    assert not torch.equal(one.state_dict()[name], other.state_dict()[name])


@pytest.mark.parametrize("name", ["full", "ema", "by_contrast"])
def test_a_restored_run_goes_on_to_the_bit(name: str) -> None:
    spec, straight = built(name)
    _, restored = built(name, seed=99)
    batches = [batch(spec, step) for step in range(4)]
    train(straight, batches[:2])
    state = torch.load(saved(straight.state_dict()), weights_only=True)
    restored.spec = spec  # built from another seed: all that matters is in the state
    restored.load_state_dict(state)
    for one, other in zip(train(straight, batches[2:]), train(restored, batches[2:]), strict=True):
        assert {key: value.item() for key, value in one.items()} == {key: value.item() for key, value in other.items()}


def saved(state: dict[str, object]) -> object:
    import io

    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return file


def test_maps_lie_on_the_encoders_cells_and_a_mismatched_pair_has_others() -> None:
    spec, objective = built("projected")
    one = batch(spec)
    train(objective, [one])
    objective.eval()
    assert one.frames is not None
    assert one.spectrogram is not None
    maps = objective.attention_maps(one.frames, one.spectrogram)
    assert (maps.s_v.shape, maps.s_a.shape) == ((8, 1, 2, 2), (8, 2, 2))
    assert maps.s_hat_v is not None
    assert all(values.min() >= 0 and values.max() <= 1 for values in (maps.s_v, maps.s_a, maps.s_hat_v))
    control = objective.attention_maps(one.frames, one.spectrogram.roll(1, 0))
    torch.testing.assert_close(control.s_hat_v, maps.s_hat_v)  # what the picture alone says
    assert not torch.allclose(control.s_v, maps.s_v, atol=1e-3)
    alone = objective.attention_maps(one.frames[:1], one.spectrogram[:1])
    torch.testing.assert_close(alone.s_v, maps.s_v[:1], rtol=1e-4, atol=1e-5)


def test_maps_without_a_prediction_or_a_second_modality_say_so() -> None:
    spec, objective = built("no_ac")
    one = batch(spec)
    assert one.frames is not None
    assert one.spectrogram is not None
    assert objective.eval().attention_maps(one.frames, one.spectrogram).s_hat_v is None
    with pytest.raises(ValueError, match="single_v looks at one modality"):
        built("single")[1].eval().maps(*(objective.query(one.frames, one.spectrogram)))


def test_specs_whose_parts_do_not_go_together_are_refused() -> None:
    with pytest.raises(ValueError, match=r"moco\.K: 7 keys do not hold one batch of 8"):
        build_objective(small({}, moco={"K": 7}))
    with pytest.raises(ValueError, match=r"loss\.ramp\.by"):
        build_objective(small(ROWS["by_contrast"] | {"contrastive": {"use": False}}))


def test_bf16_autocast_trains_with_losses_in_full_precision() -> None:
    for name in ("full", "projected"):
        spec, objective = built(name)
        with torch.autocast("cpu", torch.bfloat16):
            losses = train(objective, [batch(spec, 0), batch(spec, 1)])[-1]
        assert all(value.dtype == torch.float32 and value.isfinite() for value in losses.values())
        assert without_gradient(objective.query) == []


def test_it_learns_to_tell_one_batch_apart() -> None:
    spec, objective = built("full", model={"width": 4, "bn_group": 8}, moco={"mask_same_video": True, "m": 0.5})
    losses = train(objective, [batch(spec)] * 16, lr=0.1)
    assert losses[-1]["total"] < 0.7 * losses[0]["total"]
    assert losses[-1]["cosine/matched_embedding"] > losses[-1]["cosine/mismatched_embedding"] + 0.2
