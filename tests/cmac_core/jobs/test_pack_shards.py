"""Packing by shards and a merge: the dataset of one job, without packing or copying anything twice."""

import errno
import json
import os
import shutil
import uuid
from pathlib import Path
from typing import Any

import pytest

from cmac_core.data.manifest import MANIFEST, QUARANTINE, read_clips, read_summary, sha256_of
from cmac_core.data.pack_report import REPORT
from cmac_core.data.shares import shard_of
from cmac_core.events import DatasetMade, Progress, Result, Warned, read
from cmac_core.jobs import pack
from cmac_core.specs import JOB_SPEC, Pack
from cmac_core.training.errors import Left, UserError
from cmac_core.training.inputs import Input, check_inputs
from cmac_core.training.run import Run
from cmac_core.training.signals import StopFlag
from tests.cmac_core.data.made_media import RATE, numbered, ramp, write_media

OF = 3
NAMES = [f"{name}/{i}" for name in ("cat", "dog") for i in range(4)]


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight videos, one of them twice, one broken, one without sound; and their shards, packed. Changed by no test."""
    folder = tmp_path_factory.mktemp("shards")
    for i, name in enumerate(NAMES):
        write_media(folder / "source" / f"{name}.mkv", numbered(6 + i), sound=ramp(RATE // 2) if i else None, fps=10)
    (folder / "source" / "dog" / "twin.mkv").write_bytes((folder / "source" / "cat" / "1.mkv").read_bytes())
    (folder / "source" / "dog" / "broken.mp4").write_text("no video\n" * 50)
    for index in range(OF):
        do(folder, f"part-{index}", folder / "source", shard={"index": index, "of": OF})
    return folder


@pytest.fixture
def source(once: Path, tmp_path: Path) -> Path:
    """The videos, beside their shards; copies with the same times, which a pack looks at."""
    shutil.copytree(once, tmp_path, dirs_exist_ok=True)
    return tmp_path / "source"


def do(tmp_path: Path, name: str, source: Path, stop: StopFlag | None = None, **fields: Any) -> Path:
    """Run a pack into an output of that name; the run's folder."""
    body = {"kind": "pack", "dataset": "d", "source": {"path": "."}, "workers": 1, **fields}
    spec = JOB_SPEC.validate_python(body)
    assert isinstance(spec, Pack)
    inputs = {"output": Input(path=tmp_path / name), "source": Input(path=source)}
    inputs |= {f"packed.{index}": Input(path=tmp_path / f"part-{index}") for index in range(len(spec.merge))}
    folder = tmp_path / f"run-{name}"
    folder.mkdir(exist_ok=True)
    with Run(folder, inputs, stop=stop) as run:
        pack.run(spec, run)
    return folder


def merge(tmp_path: Path, source: Path, name: str = "merged", stop: StopFlag | None = None) -> Path:
    return do(tmp_path, name, source, stop, merge=[{"job": str(uuid.uuid4())} for _ in range(OF)])


def held(output: Path) -> dict[str, Any]:
    """What two packs of the same media share for certain; x264 has given other bytes for the same frames."""
    encoded = {"sha256", "bytes", "manifest_sha256"}
    return {
        "clips": [clip.model_dump(exclude=encoded) for clip in read_clips(output)],
        "summary": read_summary(output).model_dump(exclude=encoded),
        "quarantined": (output / QUARANTINE).read_bytes(),
    }


def test_a_merge_of_shards_is_the_dataset_of_one_job(tmp_path: Path, source: Path) -> None:
    do(tmp_path, "single", source)
    folder = merge(tmp_path, source)
    single, merged = tmp_path / "single", tmp_path / "merged"
    assert held(merged) == held(single)
    assert sorted(path.name for path in merged.iterdir()) == sorted(path.name for path in single.iterdir())
    assert [clip.id for clip in read_clips(merged)] == sorted(NAMES)
    for clip in read_clips(merged):
        assert (sha256_of(merged / clip.path), (merged / clip.path).stat().st_size) == (clip.sha256, clip.bytes)
    events, _ = read(folder)
    (made,) = [event for event in events if isinstance(event, DatasetMade)]
    assert (made.clips, made.quarantined, made.labels) == (8, 2, {"class": 2})
    assert not [event for event in events if isinstance(event, Warned) and event.code == "not_in_shards"]
    steps = [(event.phase, event.step, event.of) for event in events if isinstance(event, Progress)]
    assert ("take over", 10, 10) in steps
    assert ("pack", 10, 10) in steps


def test_a_merge_links_the_clips_and_touches_no_shard(tmp_path: Path, source: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in tmp_path.glob("part-*/**/*") if file.is_file()}
    merge(tmp_path, source)
    for index in range(OF):
        for clip in (tmp_path / f"part-{index}" / "clips").rglob("*.mkv"):
            inside = clip.relative_to(tmp_path / f"part-{index}")
            assert clip.samefile(tmp_path / "merged" / inside)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.glob("part-*/**/*") if file.is_file()} == before


def test_a_shard_packs_its_share_and_makes_no_dataset(once: Path) -> None:
    ids = set()
    for index in range(OF):
        output = once / f"part-{index}"
        clips = {str(file.relative_to(output / "clips").with_suffix("")) for file in output.rglob("*.mkv")}
        assert {shard_of(clip, OF) for clip in clips} <= {index}
        assert not ids & clips
        ids |= clips
        assert not (output / MANIFEST).exists()
        events, _ = read(once / f"run-part-{index}")
        assert not [event for event in events if isinstance(event, DatasetMade)]
        (result,) = [event for event in events if isinstance(event, Result)]
        assert result.protocol["shard"] == {"index": index, "of": OF}
        assert {value.name: value.value for value in result.values}["packed"] == len(clips)
    assert ids == set(NAMES)


def test_a_share_does_not_depend_on_other_files() -> None:
    # Written out: shards that are packed rely on these numbers.
    assert [shard_of(name, 8) for name in ("cat/0", "cat/1", "dog/twin", "a b/ç")] == [5, 6, 2, 3]
    found = [shard_of(f"class/{i}", 8) for i in range(4000)]
    assert all(400 < found.count(index) < 600 for index in range(8))


def test_a_merge_again_changes_no_byte(tmp_path: Path, source: Path) -> None:
    merge(tmp_path, source)
    before = {file: file.read_bytes() for file in (tmp_path / "merged").rglob("*") if file.is_file()}
    journal = (tmp_path / "merged" / "journal.jsonl").stat().st_size
    merge(tmp_path, source)
    after = {file: file.read_bytes() for file in (tmp_path / "merged").rglob("*") if file.is_file()}
    assert {file for file in before if before[file] != after[file]} <= {tmp_path / "merged" / REPORT}
    assert (tmp_path / "merged" / "journal.jsonl").stat().st_size == journal
    assert sorted(after) == sorted(before)


def test_an_interrupted_merge_goes_on(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop = StopFlag()
    link, linked = os.link, []

    def stop_after_two(*arguments: Any) -> None:
        link(*arguments)
        linked.append(arguments)
        if len(linked) == 2:
            stop.raised = True

    monkeypatch.setattr(os, "link", stop_after_two)
    with pytest.raises(Left):
        merge(tmp_path, source, stop=stop)
    assert not (tmp_path / "merged" / MANIFEST).exists()
    assert len(list((tmp_path / "merged" / "clips").rglob("*.mkv"))) == 2
    merge(tmp_path, source)
    assert len(linked) == len(NAMES)
    assert len(read_clips(tmp_path / "merged")) == len(NAMES)


def test_on_another_disk_clips_are_copied(tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:

    def no_link(*arguments: Any) -> None:
        raise OSError(errno.EXDEV, "cross-device link")

    monkeypatch.setattr(os, "link", no_link)
    merge(tmp_path, source)
    for clip in read_clips(tmp_path / "merged"):
        place = next(tmp_path.glob(f"part-*/{clip.path}"))
        assert not place.samefile(tmp_path / "merged" / clip.path)
        assert place.read_bytes() == (tmp_path / "merged" / clip.path).read_bytes()


def test_what_changed_or_was_lost_since_is_packed_by_the_merge(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_media(source / "cat" / "2.mkv", numbered(30), fps=10)
    write_media(source / "cat" / "new.mkv", numbered(9), fps=10)
    next(tmp_path.glob("part-*/clips/dog/3.mkv")).unlink()
    with next(tmp_path.glob("part-*/clips/dog/2.mkv")).open("ab") as torn:
        torn.truncate(100)
    link, linked = os.link, []

    def count(old: Path, new: Path) -> None:
        link(old, new)
        linked.append(f"{old.parent.name}/{old.stem}")

    monkeypatch.setattr(os, "link", count)
    (source / "cat" / "1.mkv").unlink()  # the copy is the only one now
    folder = merge(tmp_path, source)
    events, _ = read(folder)
    (warning,) = [event for event in events if isinstance(event, Warned) and event.code == "not_in_shards"]
    assert warning.message == "5 files are in no shard as they are now; the merge packs them"
    assert sorted(linked) == ["cat/0", "cat/3", "dog/0", "dog/1", "dog/2"]
    do(tmp_path, "single", source)
    assert held(tmp_path / "merged") == held(tmp_path / "single")
    assert "dog/twin" in {clip.id for clip in read_clips(tmp_path / "merged")}


def test_the_merges_report_adds_up_the_shards(tmp_path: Path, source: Path) -> None:
    merge(tmp_path, source)
    report = json.loads((tmp_path / "merged" / REPORT).read_text())
    assert report["files"]["listed"] == 10
    assert [shard["shard"] for shard in report["shards"]] == [{"index": index, "of": OF} for index in range(OF)]
    # The copy is recognized without decoding it.
    assert sum(shard["files"] for shard in report["shards"]) == 9
    assert report["throughput"]["files"] == 0


def test_a_merge_by_hand_names_the_folders_that_it_lacks(tmp_path: Path) -> None:
    body = {"kind": "pack", "dataset": "d", "source": {"path": "."}, "merge": [{"job": str(uuid.uuid4())}]}
    spec = JOB_SPEC.validate_python(body)
    with pytest.raises(UserError, match=r"should name packed\.0"):
        check_inputs(spec, {"output": Input(path=tmp_path), "source": Input(path=tmp_path)}, tmp_path / "inputs.json")
