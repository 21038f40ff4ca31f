"""Spec files: where they go wrong is named, and they may name each other."""

from pathlib import Path

import pytest

from client.errors import BadInput
from client.specfiles import in_order, read_specs, resolved


def file(folder: Path, text: str, name: str = "spec.json") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


def test_set_reaches_nested_fields_and_reads_json_values(tmp_path: Path) -> None:
    name = file(tmp_path, '{"kind": "pretrain", "loss": {"lambda_ac": 1.5}}')
    (spec,) = read_specs([name], ["loss.lambda_ac=0", "optim.lr=0.03", "preset=projected", "contrastive.wi_neg=false"])
    assert spec == {
        "kind": "pretrain",
        "loss": {"lambda_ac": 0},
        "optim": {"lr": 0.03},
        "preset": "projected",
        "contrastive": {"wi_neg": False},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [("{", "line 1 column 2"), ("[1]", "a spec is an object"), ('"x"', "a spec is an object"), ("[]", "no spec")],
)
def test_a_file_that_is_no_spec_is_named_with_the_place(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read_specs([file(tmp_path, text)])


def test_yaml_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="JSON, not YAML"):
        read_specs([file(tmp_path, "kind: pretrain", "spec.yaml")])


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"nowhere\.json: No such file"):
        read_specs([str(tmp_path / "nowhere.json")])


@pytest.mark.parametrize("setting", ["lr", "=3", "optim..lr=1"])
def test_a_setting_without_field_and_value_is_refused(tmp_path: Path, setting: str) -> None:
    with pytest.raises(BadInput, match="write it as field=value"):
        read_specs([file(tmp_path, "{}")], [setting])


def test_a_setting_through_a_value_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="seed is 3, not an object"):
        read_specs([file(tmp_path, '{"seed": 3}')], ["seed.x=1"])


def test_named_specs_come_before_those_that_name_them() -> None:
    base = {"kind": "pretrain", "name": "base"}
    probe = {"kind": "probe", "name": "probe", "checkpoint": {"job": "$base"}}
    late = {"kind": "pack", "name": "late", "queue": {"after": [{"job": "$probe"}]}}
    assert [spec["name"] for spec in in_order([late, probe, base])] == ["base", "probe", "late"]
    assert resolved(probe, {"base": "0b0e"})["checkpoint"] == {"job": "0b0e"}
    assert resolved(late, {"probe": "51fe"})["queue"] == {"after": [{"job": "51fe"}]}


def test_a_ring_and_unknown_and_double_names_are_refused() -> None:
    one = {"name": "one", "checkpoint": {"job": "$two"}}
    two = {"name": "two", "checkpoint": {"job": "$one"}}
    with pytest.raises(BadInput, match="in a ring"):
        in_order([one, two])
    with pytest.raises(BadInput, match="no spec of these files has the name 'two'; names: one"):
        in_order([one])
    with pytest.raises(BadInput, match="two specs have the name"):
        in_order([one, {"name": "two"}, {"name": "two"}])
