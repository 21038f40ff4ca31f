import numpy as np
import pytest
import torch

from cmac_core.objectives.queue import NOBODY, KeyQueue


def rows(count: int, value: float, dim: int = 4) -> torch.Tensor:
    return torch.full((count, dim), value)


@pytest.mark.parametrize("batch", [128, 64, 96])
def test_a_size_that_is_no_multiple_of_the_batch_wraps_around(batch: int) -> None:
    size, steps = 15_000, -(-15_000 // batch)
    queue = KeyQueue(size, 1)
    ring, ids, pointer = np.zeros(size), np.full(size, NOBODY), 0
    for step in range(steps):
        keys = torch.arange(batch, dtype=torch.float32) + step * batch + 2
        queue.enqueue(keys[:, None], keys.long() * 10)
        for key in keys.tolist():
            ring[pointer], ids[pointer] = key, key * 10
            pointer = (pointer + 1) % size
    assert (queue.keys[:, 0] > 1).all()  # none of the first columns is left
    np.testing.assert_array_equal(queue.keys[:, 0].numpy(), ring)
    np.testing.assert_array_equal(queue.videos.numpy(), ids)
    assert (queue.pointer, queue.filled) == (steps * batch % size, size)
    if batch == 128:
        assert (steps, queue.pointer) == (118, 104)


def test_it_starts_with_unit_vectors_of_nobody_that_the_seed_decides() -> None:
    one, same, other = (KeyQueue(50, 8, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    torch.testing.assert_close(one.keys.norm(dim=1), torch.ones(50))
    assert (one.videos == NOBODY).all()
    assert torch.equal(one.keys, same.keys)
    assert not torch.equal(one.keys, other.keys)


def test_keys_that_are_not_finite_do_not_get_in() -> None:
    queue = KeyQueue(6, 4)
    first = queue.keys[0].clone()
    keys = torch.cat([rows(1, float("nan")), rows(1, 0.5)])
    queue.enqueue(keys, torch.tensor([7, 8]))
    assert torch.equal(queue.keys[0], first)
    assert queue.videos[:2].tolist() == [NOBODY, 8]
    assert torch.equal(queue.keys[1], rows(1, 0.5)[0])


def test_its_place_is_part_of_its_state() -> None:
    queue, restored = KeyQueue(5, 4), KeyQueue(5, 4)
    queue.enqueue(rows(3, 0.5), torch.arange(3))
    restored.load_state_dict(queue.state_dict())
    for one in (queue, restored):
        one.enqueue(rows(3, 0.25), torch.arange(3))
    assert torch.equal(queue.keys, restored.keys)
    assert (restored.pointer, restored.filled) == (1, 5)


def test_it_knows_which_keys_are_of_the_same_video() -> None:
    queue = KeyQueue(4, 4)
    queue.enqueue(rows(2, 0.5), torch.tensor([7, 9]))
    assert queue.holds(torch.tensor([9, 1])).tolist() == [[False, True, False, False], [False] * 4]
