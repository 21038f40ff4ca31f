"""Jobs as files of TensorBoard, read by TensorBoard's own reader."""

import builtins
import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2

from tests.api.conftest import Lab
from tests.client.conftest import Cmac
from tests.client.exports.conftest import png


def read(folder: Path) -> Any:
    found = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    found.Reload()
    return found


def test_curves_values_settings_and_pictures_arrive(cmac: Cmac, lab: Lab, job: str, tmp_path: Path) -> None:
    said = cmac("export", "tensorboard", job[:8], "--out", str(tmp_path))
    assert said.code == 0, said
    folder = tmp_path / f"exported-{job[:8]}"
    assert said.out.replace("\n", "") == str(folder)
    found = read(folder)
    loss = found.Scalars("loss")
    assert [event.step for event in loss] == list(range(1200))
    assert loss[1000].value == pytest.approx(1.0)
    rows = lab.http.get(f"/jobs/{job}/metrics?x=time&names=loss&points=20000").json()["series"][0]
    assert abs(loss[0].wall_time - datetime.fromisoformat(rows["x"][0]).timestamp()) < 1
    assert found.Scalars("r_at_1/pool_gap/split_1")[0].value == pytest.approx(57.9)
    picture = found.Images("attention/a/b/video/s")[0]
    assert (picture.width, picture.height, picture.encoded_image_string) == (6, 4, png(6, 4))
    start = found.SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    settings = plugin_data_pb2.HParamsPluginData.FromString(start).session_start_info.hparams
    assert settings["seed"].number_value == 3
    assert settings["geometry.frames"].number_value == 8
    assert settings["cmac.job"].string_value == job


def test_a_second_export_takes_the_place_of_the_first(cmac: Cmac, job: str, tmp_path: Path) -> None:
    for _ in range(2):
        (folder,) = json.loads(cmac("export", "tensorboard", job, "--out", str(tmp_path), "--json").out)
    assert len(read(Path(folder)).Scalars("loss")) == 1200
    assert len(list(Path(folder).iterdir())) == 1


def test_without_the_library_the_command_says_what_to_install(
    cmac: Cmac, job: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    imported = builtins.__import__

    def missing(name: str, *rest: Any, **more: Any) -> Any:
        if name.startswith("tensorboardX"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    said = cmac("export", "tensorboard", job, "--out", str(tmp_path))
    assert (said.code, "pip install 'cmac-lab[tensorboard]'" in said.err.replace("\n", " ")) == (2, True)
