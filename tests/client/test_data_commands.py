"""Commands on datasets, roots and weights."""

import json
import uuid
from pathlib import Path

import pytest

from cmac_core.events import Saved
from store.keys import Role
from tests.api.conftest import Lab
from tests.client.conftest import Cmac


def test_datasets_and_roots(cmac: Cmac, tmp_path: Path) -> None:
    assert "moving@1" in cmac("dataset", "list").out
    assert "class=8" in cmac("dataset", "show", "moving").out
    missing = cmac("dataset", "show", "movin")
    assert (missing.code, "there are: moving@1" in missing.err) == (2, True)
    media = tmp_path / "My Videos"
    media.mkdir()
    row = json.loads(cmac("dataset", "add", str(media), "--json").out)
    assert (row["kind"], row["spec"]["dataset"]) == ("pack", "my-videos")
    again = json.loads(cmac("dataset", "add", str(media), "--name", "other", "--json").out)
    assert again["spec"]["source"] == row["spec"]["source"]
    assert str(media) in cmac("root", "list").out.replace("\n", "")
    assert cmac("dataset", "add", str(tmp_path / "nowhere")).code == 2


def test_a_public_set_is_packed_by_its_layout(cmac: Cmac, tmp_path: Path) -> None:
    row = json.loads(cmac("dataset", "add", str(tmp_path), "--name", "esc", "--layout", "esc50", "--json").out)
    assert (row["spec"]["layout"], row["spec"]["media"]) == ("esc50", "audio")
    said = cmac("dataset", "add", str(tmp_path), "--name", "ucf", "--layout", "ucf-101")
    assert said.code == 2
    assert "/layout" in said.err
    assert "'ucf101'" in said.err


def test_shards_and_their_merge_are_submitted_in_one_go(cmac: Cmac, tmp_path: Path) -> None:
    media = ("dataset", "add", str(tmp_path), "--name", "big", "--layout", "kinetics400")
    rows = json.loads(cmac(*media, "--shards", "3", "--workers", "2", "--json").out)
    assert [row["spec"]["shard"] for row in rows] == [*({"index": i, "of": 3} for i in range(3)), None]
    assert [row["name"] for row in rows][1::2] == ["pack big, shard 2 of 3", "pack big"]
    assert [row["state"] for row in rows] == ["queued"] * 3 + ["blocked"]
    assert [one["job"] for one in rows[3]["spec"]["merge"]] == [row["id"] for row in rows[:3]]
    assert {row["spec"]["workers"] for row in rows} == {2}
    assert len(cmac(*media, "--shards", "2", "--quiet").out.split()) == 3
    assert cmac(*media, "--shards", "0").code == 2


def test_weights_are_imported_shown_and_fetched(cmac: Cmac, lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(b"weights")
    row = json.loads(cmac("checkpoint", "import", str(tmp_path / "weights.pt"), "--layout", "gdt", "--json").out)
    assert (row["kind"], row["name"], row["spec"]["layout"]) == ("import", "import weights.pt", "gdt")
    assert cmac("checkpoint", "import", str(tmp_path / "nowhere.pt")).code == 2
    lease = lab.start(row["id"])
    for step in (0, 1):
        path = f"checkpoints/step-{step}/state.pt"
        (lab.folder(row["id"]) / path).parent.mkdir(parents=True)
        (lab.folder(row["id"]) / path).write_bytes(b"state")
        lab.tell(lease, Saved(step=step, train_epoch=0, path=path, sha256="0" * 64, bytes=5, kind="weights"))
    lab.tell(lease, lab.artifact(row["id"], "encoders.safetensors", b"tensors", "x/y", "encoders", step=0))
    lab.succeed(lease)
    listed = json.loads(cmac("checkpoint", "list", "--job", row["id"], "--json").out)
    ids = {one["step"]: one["id"] for one in listed}
    shown = cmac("checkpoint", "show", ids[0])
    assert f"/checkpoints/{ids[0]}/file" in shown.out.replace("\n", "")
    out = tmp_path / "out"
    got = cmac("checkpoint", "get", ids[0], "--out", str(out))
    assert (got.code, (out / "encoders.safetensors").read_bytes()) == (0, b"tensors")
    assert (out / "model-card.md").read_text().startswith("# import weights.pt\n")
    refused = cmac("checkpoint", "get", ids[1], "--out", str(tmp_path / "none"))
    assert (refused.code, "has no exported weights" in refused.err) == (2, True)
    assert not (tmp_path / "none").exists()


def test_a_viewer_cannot_add_roots(cmac: Cmac, lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CMAC_API_KEY", lab.key(Role.viewer))
    assert cmac("root", "add", f"r-{uuid.uuid4().hex[:6]}", str(tmp_path)).code == 3
