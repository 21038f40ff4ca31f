"""What a job computes is counted as METHOD 3 and 8 count it."""

import pytest

from cmac_core.experiments.cost import PAPER_VIDEOS, SUSTAINED, audio_macs, cost, video_macs
from cmac_core.experiments.expansion import expand
from cmac_core.specs import JOB_SPEC, Pretrain
from cmac_core.specs.experiment import Experiment
from cmac_core.specs.method import Model


@pytest.mark.parametrize(
    ("frames", "side", "giga"), [(32, 128, 105.9), (30, 128, 100.3), (32, 112, 81.0), (16, 112, 40.5)]
)
def test_the_video_network_costs_what_the_method_lists(frames: int, side: int, giga: float) -> None:
    assert video_macs(frames, side) / 1e9 == pytest.approx(giga, abs=0.06)


@pytest.mark.parametrize(("seconds", "giga"), [(1.0, 0.48), (2.0, 0.90)])
def test_the_sound_network_costs_what_the_method_lists(seconds: float, giga: float) -> None:
    assert audio_macs(seconds) / 1e9 == pytest.approx(giga, abs=0.006)


def test_narrower_and_shallower_networks_cost_less_as_their_layers_do() -> None:
    assert video_macs(30, 128, width=32) < 0.3 * video_macs(30, 128)
    # One block of two in every stage, and the stem, remain.
    assert 0.5 < video_macs(8, 64, width=8, depth=1) / video_macs(8, 64, width=8, depth=2) < 0.6


@pytest.mark.parametrize(
    ("row", "steps", "flops"),
    [("00", 3509, 9.1e18), ("10", 3509, 9.1e18), ("01", 7018, 1.82e19), ("11", 7018, 1.82e19)],
)
def test_table_3_has_the_papers_steps_and_costs_on_its_number_of_videos(row: str, steps: int, flops: float) -> None:
    plan = expand(Experiment(recipe="table-3"))
    place = next(cell.job for cell in plan.cells if cell.name == f"table-3/{row}/0")
    spec = plan.jobs[place].spec
    assert isinstance(spec, Pretrain)
    found = cost(spec, PAPER_VIDEOS, spec.model)
    assert (found.steps_per_epoch, found.steps) == (steps, 50 * steps)
    assert found.flops == pytest.approx(flops, rel=0.01)
    assert found.gpu_hours == pytest.approx(flops / SUSTAINED / 3600, rel=0.01)


def test_the_main_run_costs_what_the_method_says() -> None:
    spec = JOB_SPEC.validate_python({"kind": "pretrain", "dataset": "x"})
    found = cost(spec, PAPER_VIDEOS, Model())
    assert found.steps_per_epoch == 1754
    assert found.flops == pytest.approx(3.6e19, rel=0.01)


def test_one_network_or_no_key_costs_less() -> None:
    def flops(**fields: object) -> float:
        spec = JOB_SPEC.validate_python({"kind": "pretrain", "dataset": "x", "preset": "paper", **fields})
        return cost(spec, PAPER_VIDEOS, Model()).flops or 0

    full = flops()
    assert flops(objective="single_a") < 0.01 * full
    assert flops(objective="single_v") == pytest.approx(full, rel=0.01)
    assert flops(contrastive={"use": False}) == pytest.approx(0.75 * full)


def test_an_evaluation_runs_ours_and_the_untrained_networks_forward() -> None:
    body = {"kind": "retrieval", "dataset": "x", "checkpoint": {"job": "0b0e0000-0000-4000-8000-000000000000"}}
    found = cost(JOB_SPEC.validate_python(body), 13_320, Model())
    assert found.flops == pytest.approx(2 * 13_320 * 10 * 2 * 105.9e9, rel=0.01)
    untrained = JOB_SPEC.validate_python(body | {"checkpoint": {"random_init": True}})
    assert cost(untrained, 13_320, Model()).flops == pytest.approx((found.flops or 0) / 2)
