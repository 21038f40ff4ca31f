"""How batch norm is computed is chosen once, told, kept with the training and used again by it."""

from typing import Any

import pytest
import torch

from cmac_core.__main__ import main
from cmac_core.events import Result, Warned
from cmac_core.models import fused_norm
from cmac_core.objectives.cmac import build_objective
from cmac_core.specs.jobs import Pretrain
from cmac_core.training import kernels
from tests.cmac_core.training.conftest import MakeJob
from tests.cmac_core.training.tiny import Tiny

EVERY_STEP = {"every_s": 0.0001, "keep": 0}


def trained(tiny: Tiny) -> Any:
    """The last state of a job run in this process."""
    assert main(tiny.arguments) == 0, tiny.events[-1]
    return torch.load(tiny.checkpoints[-1], weights_only=True)


def warnings(tiny: Tiny) -> list[str]:
    return [event.message for event in tiny.events if isinstance(event, Warned) and event.code == "fused_norm"]


def protocol(tiny: Tiny) -> str:
    (result,) = [event for event in tiny.events if isinstance(event, Result)]
    return str(result.protocol["norm"])


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU, in a training as short as the tests'."""
    monkeypatch.setattr(kernels, "FUSED_ON", ("cpu",))
    monkeypatch.setattr(kernels, "STEPS", 8)
    monkeypatch.setattr(kernels, "LARGE", 0)


def test_a_cpu_takes_the_librarys(job: MakeJob) -> None:
    tiny = job("cpu")
    assert trained(tiny)["norm"] == "library" == protocol(tiny)


@pytest.mark.system
@pytest.mark.usefixtures("on_cpu")
def test_a_training_that_goes_on_keeps_its_norm_to_the_bit(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = job("whole", checkpoints=EVERY_STEP)
    wanted = trained(whole)
    assert wanted["norm"] == "fused" == protocol(whole)
    monkeypatch.setattr(kernels, "STEPS", 9)  # a rule of another version: it would choose the library's
    monkeypatch.setattr(kernels, "LARGE", 5_000_000)
    resumed = trained(job("resumed", resume=whole.checkpoints[2], checkpoints=EVERY_STEP))
    assert resumed["norm"] == "fused"
    assert all(
        torch.equal(resumed["objective"][name], value)
        for name, value in wanted["objective"].items()
        if isinstance(value, torch.Tensor)
    )


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize(("limit", "value"), [("STEPS", 9), ("LARGE", 5_000_000)])
def test_a_short_or_small_training_does_not_wait_for_a_compiler(
    limit: str, value: int, job: MakeJob, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, limit, value)
    assert trained(job(f"below {limit}"))["norm"] == "library"


def test_the_papers_networks_are_large_and_those_of_small_trainings_are_not() -> None:
    sizes = [
        sum(parameter.numel() for parameter in build_objective(Pretrain.model_validate(body)).trained())
        for body in ({"dataset": "x"}, {"dataset": "x", "scale": "small"})
    ]
    assert sizes[0] > kernels.LARGE > sizes[1]


@pytest.mark.system
@pytest.mark.usefixtures("on_cpu")
def test_statistics_of_several_ranks_are_the_librarys(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    """The fused norm sees its own rank's clips alone."""
    assert trained(job("one", model={"bn": "sync"}))["norm"] == "fused"
    monkeypatch.setattr(kernels, "world_size", lambda: 2)
    assert trained(job("two", model={"bn": "sync"}))["norm"] == "library"
    assert trained(job("groups"))["norm"] == "fused"


@pytest.mark.usefixtures("on_cpu")
def test_where_the_two_differ_the_librarys_is_taken_and_told(job: MakeJob, monkeypatch: pytest.MonkeyPatch) -> None:
    right = fused_norm.normalised

    def wrong(*given: Any) -> Any:
        return 1.001 * right(*given)

    monkeypatch.setattr(fused_norm, "normalised", wrong)
    tiny = job("wrong")
    assert trained(tiny)["norm"] == "library"
    (told,) = warnings(tiny)
    assert "map is off by 1.0e-03 in torch.float32, more than 1e-05" in told
