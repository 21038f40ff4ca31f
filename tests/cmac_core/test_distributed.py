"""Forward and gradient on two gloo ranks equal one process, with the collectives that carry them."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from cmac_core import distributed
from tests.cmac_core.objectives.small_runs import batch, built, train
from tests.cmac_core.objectives.two_ranks import COMPARED, LR, STEPS, normalised_together

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What both ranks wrote; one start for all tests, since importing torch takes seconds."""
    folder = tmp_path_factory.mktemp("ranks")
    command = [sys.executable, "-m", "tests.cmac_core.objectives.two_ranks"]
    children = [
        subprocess.Popen([*command, str(rank), str(folder / "store"), str(folder)], cwd=ROOT, stderr=subprocess.PIPE)
        for rank in range(2)
    ]
    try:
        errors = [child.communicate(timeout=280)[1].decode() for child in children]
    finally:
        for child in children:
            child.kill()
    assert [child.returncode for child in children] == [0, 0], "\n".join(errors)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


@pytest.mark.system
@pytest.mark.parametrize("name", COMPARED)
def test_two_ranks_are_one_process(ranks: list[dict[str, Any]], name: str) -> None:
    spec, objective = built(name)
    losses = train(objective, [batch(spec)], LR)
    grads = {key: p.grad.clone() for key, p in objective.query.named_parameters() if p.grad is not None}
    losses += train(objective, [batch(spec, step) for step in range(1, STEPS)], LR)
    for rank in ranks:
        assert grads.keys() == rank[name]["grads"].keys()
        for key, grad in grads.items():
            # Some are zero but for rounding: a scale before the only channel of another batch norm.
            assert (rank[name]["grads"][key] - grad).norm() <= 3e-4 * grad.norm() + 2e-3, key
        for step, (alone, together) in enumerate(zip(losses, rank[name]["losses"], strict=True)):
            for key in alone.keys() & {"total", "lambda", "contrast/v", "contrast/a", "attention/v", "attention/a"}:
                # Groups of two clips magnify rounding from step to step.
                torch.testing.assert_close(together[key], alone[key], rtol=(1e-5, 1e-3)[step], atol=1e-6, msg=key)
    state = objective.state_dict()
    for key, value in ranks[0][name]["state"].items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, state[key], rtol=1e-2, atol=1e-2, msg=key)  # queues, centers, BN
        else:
            assert value == state[key]


@pytest.mark.system
def test_one_batch_norm_over_both_ranks_is_that_of_one_process(ranks: list[dict[str, Any]]) -> None:
    alone = normalised_together(lambda net: net, slice(0, 8))
    for rank in ranks:
        assert alone.keys() == rank["normalised"].keys()
        for name, value in alone.items():
            torch.testing.assert_close(
                rank["normalised"][name], value, rtol=1e-4, atol=1e-6, msg=name
            )  # biases before it: zero


def test_queues_that_differ_are_noticed(ranks: list[dict[str, Any]]) -> None:
    for rank in ranks:
        assert rank["full"]["agree"]
        assert not rank["full"]["agree_after_a_change"]


def test_what_ranks_tell_each_other(ranks: list[dict[str, Any]]) -> None:
    rows = torch.arange(6.0).view(3, 2)
    whole = torch.cat([rows, rows + 10])
    shuffled = whole[[5, 0, 3, 2, 1, 4]]
    for number, rank in enumerate(ranks):
        said = rank["talked"]
        assert torch.equal(said["gathered"], whole)
        assert torch.equal(said["mean"], rows + 5)
        assert torch.equal(said["exchanged"], shuffled[3 * number : 3 * number + 3])
        assert torch.equal(said["center"], whole.mean(0))
        assert said["all_equal"] == (True, False)
        assert said["place"] == (number, 2)


def test_alone_each_of_them_is_the_local_thing() -> None:
    rows = torch.arange(6.0).view(3, 2).requires_grad_()
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert torch.equal(distributed.gather_rows(rows), rows)
    assert not distributed.mean_over_ranks(rows).requires_grad
    assert torch.equal(distributed.exchange_rows(rows, torch.tensor([2, 0, 1])), rows[[2, 0, 1]])
    assert distributed.all_equal(rows)
