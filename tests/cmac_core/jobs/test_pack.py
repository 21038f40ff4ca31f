"""Packing as a job: real files, interruptions, bad input. What is packed stays packed, and the result is the same."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from cmac_core.data.dataset import open_dataset
from cmac_core.data.manifest import (
    MANIFEST,
    QUARANTINE,
    SUMMARY,
    Quarantined,
    read_clips,
    read_summary,
    read_truth,
    sha256_of,
)
from cmac_core.events import Artifact, DatasetMade, Ended, Progress, Result, Warned, read
from cmac_core.jobs import pack
from cmac_core.specs import JOB_SPEC, Pack
from cmac_core.training.errors import DataError, DiskFull, UserError
from cmac_core.training.inputs import Input
from cmac_core.training.run import Run
from tests.cmac_core.data import crew_work
from tests.cmac_core.data.made_media import RATE, SHARED, needs_shared, numbered, ramp, write_media

CORPUS = {"generate": "sounding-objects", "grade": "easy", "clips": 8, "seconds": 1.0, "size": 48}


def spec_of(**fields: Any) -> Pack:
    spec = JOB_SPEC.validate_python({"kind": "pack", "dataset": "d", "source": {"path": "."}, "workers": 1, **fields})
    assert isinstance(spec, Pack)
    return spec


def packed(spec: Pack, tmp_path: Path, source: Path | None, output: str = "output") -> Path:
    """Run the job; the run's folder."""
    folder = tmp_path / "run"
    folder.mkdir(parents=True, exist_ok=True)
    inputs = {"output": Input(path=tmp_path / output)}
    with Run(folder, inputs if source is None else inputs | {"source": Input(path=source)}) as run:
        pack.run(spec, run)
    return folder


def media(tmp_path: Path, *names: str) -> Path:
    """A source of small videos with sound; a different number of frames in each."""
    for i, name in enumerate(names):
        write_media(tmp_path / "source" / name, numbered(6 + i), sound=ramp(RATE // 2), fps=10)
    return tmp_path / "source"


def quarantine(output: Path) -> dict[str, str]:
    rows = [Quarantined.model_validate_json(line) for line in (output / QUARANTINE).read_bytes().splitlines()]
    return {row.source: row.reason for row in rows}


def state(output: Path) -> dict[str, str]:
    return {name: sha256_of(output / name) for name in (MANIFEST, QUARANTINE, SUMMARY)}


def content(output: Path) -> list[dict[str, object]]:
    """What two encodings of the same media share for certain: x264 has given other bytes for the same frames."""
    return [clip.model_dump(exclude={"sha256", "bytes"}) for clip in read_clips(output)]


def test_a_folder_becomes_a_dataset_and_says_so(tmp_path: Path) -> None:
    source = media(tmp_path, "cat/a.mkv", "cat/b.mp4", "dog/a.mkv")
    (source / "dog" / "copy.mkv").write_bytes((source / "cat" / "a.mkv").read_bytes())
    (source / "dog" / "broken.mp4").write_text("no video\n" * 50)
    write_media(source / "dog" / "bark.wav", sound=ramp(RATE))
    folder, output = packed(spec_of(), tmp_path, source), tmp_path / "output"
    dataset = open_dataset(output)
    assert [(clip.id, clip.labels) for clip in dataset.clips] == [
        ("cat/a", {"class": "cat"}),
        ("cat/b", {"class": "cat"}),
        ("dog/a", {"class": "dog"}),
    ]
    for clip in dataset.clips:
        assert (sha256_of(dataset.path(clip)), dataset.path(clip).stat().st_size) == (clip.sha256, clip.bytes)
    reasons = {"dog/bark.wav": "no_video", "dog/broken.mp4": "not_media", "dog/copy.mkv": "duplicate"}
    assert quarantine(output) == reasons
    events, _ = read(folder)
    (made,) = [event for event in events if isinstance(event, DatasetMade)]
    assert (made.clips, made.quarantined, made.with_audio, made.labels) == (3, 3, 3, {"class": 2})
    assert made.manifest_sha256 == dataset.summary.manifest_sha256 == sha256_of(output / MANIFEST)
    left = [event for event in events if isinstance(event, Artifact)]
    assert {artifact.kind for artifact in left} == {"quarantine", "table", "plot", "sample"}
    samples = [artifact for artifact in left if artifact.kind == "sample"]
    assert [artifact.meta["clip"] for artifact in samples] == ["cat/a", "cat/b", "dog/a"]
    assert {artifact.media_type for artifact in samples} == {"video/mp4"}
    assert [event.code for event in events if isinstance(event, Warned)] == ["quarantined"]
    assert any(isinstance(event, Progress) and event.phase == "pack" and event.step == 6 for event in events)
    assert dataset.summary.mel_mean is not None
    assert dataset.summary.mel_std is not None
    assert dataset.summary.mel_std > 0.1
    assert sorted(path.name for path in output.iterdir() if path.name.startswith(".")) == []


def test_a_second_run_changes_no_byte_and_another_output_is_the_same(tmp_path: Path) -> None:
    source = media(tmp_path, "a.mkv", "b.mkv")
    packed(spec_of(), tmp_path, source)
    before = state(tmp_path / "output")
    written = {path: path.stat().st_mtime_ns for path in (tmp_path / "output" / "clips").iterdir()}
    packed(spec_of(), tmp_path, source)
    assert state(tmp_path / "output") == before
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "output" / "clips").iterdir()} == written
    packed(spec_of(workers=2), tmp_path, source, "elsewhere")
    assert content(tmp_path / "elsewhere") == content(tmp_path / "output")


def test_what_changed_is_packed_again_and_what_is_gone_is_dropped(tmp_path: Path) -> None:
    source = media(tmp_path, "a.mkv", "b.mkv", "c.mkv")
    output = tmp_path / "output"
    packed(spec_of(), tmp_path, source)
    kept = (output / "clips" / "a.mkv").stat().st_mtime_ns
    write_media(source / "b.mkv", numbered(20), fps=10)
    (source / "c.mkv").unlink()
    packed(spec_of(), tmp_path, source)
    assert [(clip.id, clip.frames) for clip in open_dataset(output).clips] == [("a", 6), ("b", 20)]
    assert (output / "clips" / "a.mkv").stat().st_mtime_ns == kept
    assert not (output / "clips" / "c.mkv").exists()


def test_a_file_that_crashes_the_decoder_is_left_out_and_the_rest_is_packed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = media(tmp_path, "a.mkv", "crash.mkv", "z.mkv")
    monkeypatch.setattr(pack, "pack_one", crew_work.pack_with_faults)
    packed(spec_of(), tmp_path, source)
    assert [clip.id for clip in open_dataset(tmp_path / "output").clips] == ["a", "z"]
    assert quarantine(tmp_path / "output") == {"crash.mkv": "decode_error"}


def test_a_full_disk_ends_the_pack_and_keeps_what_is_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = media(tmp_path, "a.mkv", "full.mkv")
    with monkeypatch.context() as patched:
        patched.setattr(pack, "pack_one", crew_work.pack_with_faults)
        with pytest.raises(DiskFull, match="no room left"):
            packed(spec_of(), tmp_path, source)
    assert not (tmp_path / "output" / MANIFEST).exists()
    assert not (tmp_path / "output" / ".partial").exists()
    packed(spec_of(), tmp_path, source)
    assert [clip.id for clip in open_dataset(tmp_path / "output").clips] == ["a", "full"]


def core(tmp_path: Path, source: Path) -> "subprocess.Popen[bytes]":
    """The whole core on a spec, as a process of its own."""
    folder = tmp_path / "whole"
    folder.mkdir(exist_ok=True)
    (folder / "spec.json").write_text(spec_of().model_dump_json())
    inputs = {"source": {"path": str(source)}, "output": {"path": str(tmp_path / "output")}}
    (folder / "inputs.json").write_text(json.dumps(inputs))
    command = [sys.executable, "-m", "cmac_core", str(folder / "spec.json"), "--run-dir", str(folder)]
    return subprocess.Popen(command, cwd=Path(__file__).parents[3])


def packed_so_far(output: Path, at_least: int, process: "subprocess.Popen[bytes]") -> dict[str, int]:
    """Wait until so many files are settled; the clips that are there, by name."""
    journal, until = output / "journal.jsonl", time.monotonic() + 60
    while not journal.exists() or journal.read_bytes().count(b"\n") < at_least:
        assert process.poll() is None, "it ended before it could be interrupted"
        assert time.monotonic() < until
        time.sleep(0.01)
    return {path.name: path.stat().st_mtime_ns for path in (output / "clips").iterdir()}


@pytest.mark.system
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGUSR1], ids=["killed", "asked to leave"])
def test_an_interrupted_pack_goes_on_where_it_was(sign: signal.Signals, tmp_path: Path) -> None:
    for i in range(12):
        # Long enough that all are not done at once.
        write_media(tmp_path / "source" / f"{i:02}.mkv", numbered(80), sound=ramp(4 * RATE), fps=20)
    output = tmp_path / "output"
    with core(tmp_path, tmp_path / "source") as process:
        before = packed_so_far(output, 3, process)
        os.kill(process.pid, sign)
        process.wait(30)
    events, _ = read(tmp_path / "whole")
    if sign is signal.SIGUSR1:
        assert process.returncode == 75
        assert isinstance(events[-1], Ended)
        assert events[-1].outcome == "left"
    assert len(before) < 12
    assert not (output / MANIFEST).exists()
    with (output / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"id": "half a li')
    packed(spec_of(), tmp_path, tmp_path / "source")
    assert len(open_dataset(output).clips) == 12
    after = {path.name: path.stat().st_mtime_ns for path in (output / "clips").iterdir()}
    assert {name: after[name] for name in before} == before
    packed(spec_of(), tmp_path, tmp_path / "source", "straight")
    assert content(output) == content(tmp_path / "straight")


def test_a_corpus_is_packed_with_its_truth(tmp_path: Path) -> None:
    folder, output = packed(spec_of(source=CORPUS), tmp_path, None), tmp_path / "output"
    dataset = open_dataset(output)
    assert (len(dataset), dataset.summary.labels, dataset.summary.with_audio) == (8, {"class": 8, "split": 2}, 8)
    assert sorted(dataset.truth) == [clip.id for clip in dataset.clips]
    for clip in dataset.clips:
        truth = dataset.truth[clip.id]
        assert truth.cls == clip.labels["class"]
        assert len(truth.sounding) == clip.frames == 8
    assert (folder / "corpus" / "labels.csv").exists()
    packed(spec_of(source=CORPUS), tmp_path / "again", None)
    assert content(tmp_path / "again" / "output") == content(output)
    assert read_truth(tmp_path / "again" / "output") == read_truth(output)


def test_sound_alone_makes_a_dataset_of_sound(tmp_path: Path) -> None:
    for name in ("a.wav", "b.flac.wav"):
        write_media(tmp_path / "source" / name, sound=ramp(RATE + len(name)))
    write_media(tmp_path / "source" / "mute.mkv", numbered(6))
    packed(spec_of(media="audio"), tmp_path, tmp_path / "source")
    dataset = open_dataset(tmp_path / "output")
    assert [(clip.id, clip.path, clip.frames) for clip in dataset.clips] == [
        ("a", "clips/a.mka", 0),
        ("b.flac", "clips/b.flac.mka", 0),
    ]
    assert quarantine(tmp_path / "output") == {"mute.mkv": "no_audio"}


@needs_shared
def test_esc_50_in_its_own_layout(tmp_path: Path) -> None:
    root = tmp_path / "esc"
    (root / "meta").mkdir(parents=True)
    (root / "audio").mkdir()
    rows = (SHARED / "esc50" / "meta" / "esc50.csv").read_text().splitlines()
    present = sorted((SHARED / "esc50" / "audio").iterdir())[:3]
    for file in present:
        (root / "audio" / file.name).symlink_to(file)
    listed = [row for row in rows[1:] if row.split(".")[0] in {file.stem for file in present}]
    (root / "meta" / "esc50.csv").write_text("\n".join([rows[0], *listed, rows[5]]) + "\n")
    table = {"path": "meta/esc50.csv", "file": "filename", "folder": "audio", "by_stem": True}
    spec = {"media": "audio", "table": table}
    with pytest.raises(UserError, match="1 of 4 files are not there"):
        packed(spec_of(**spec), tmp_path, root)
    packed(spec_of(**spec, allow_missing=True), tmp_path, root)
    summary = read_summary(tmp_path / "output")
    assert (summary.clips, summary.quarantined, summary.media) == (3, 1, "audio")
    assert set(summary.labels) == {"fold", "target", "category", "esc10", "src_file", "take"}
    assert list(quarantine(tmp_path / "output").values()) == ["missing_file"]


@needs_shared
def test_a_public_set_is_packed_with_its_own_labels_and_reported(tmp_path: Path) -> None:
    root = tmp_path / "hmdb"
    shutil.copytree(
        SHARED / "annotations" / "testTrainMulti_7030_splits", root / "lists", copy_function=shutil.copyfile
    )
    shutil.copytree(SHARED / "files" / "hmdb51", root / "videos", copy_function=shutil.copyfile)
    with pytest.raises(UserError, match="6764 of the 6766 listed files are not below"):
        packed(spec_of(layout="hmdb51"), tmp_path, root)
    folder, output = packed(spec_of(layout="hmdb51", allow_missing=True), tmp_path, root), tmp_path / "output"
    assert [(clip.id, clip.labels) for clip in open_dataset(output).clips] == [
        ("wave/SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0",
         {"class": "wave", "split1": "unused", "split2": "unused", "split3": "train"}),
        ("wave/TrumanShow_wave_f_nm_np1_fr_med_26",
         {"class": "wave", "split1": "test", "split2": "train", "split3": "train"}),
    ]  # fmt: skip
    report = json.loads((folder / "artifacts" / "pack-report.json").read_text())
    assert report["files"] == {
        "listed": 6766, "packed": 2, "without_sound": 2, "silent": 0, "left_out": 6764, "broken": 0,
        "missing_file": 6764,
    }  # fmt: skip
    assert report["summary"]["labels"] == {"class": 1, "split1": 2, "split2": 2, "split3": 1}
    events, _ = read(folder)
    (result,) = [event for event in events if isinstance(event, Result)]
    assert {value.name: (value.value, value.unit, value.n) for value in result.values}["missing_file"] == (
        6764, "files", 6766,
    )  # fmt: skip


def test_a_source_without_media_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(UserError, match=r"no media files in .*source; looked for .*\.mp4"):
        packed(spec_of(), tmp_path, tmp_path / "source")


def test_a_source_of_which_nothing_can_be_packed_says_why(tmp_path: Path) -> None:
    write_media(tmp_path / "source" / "a.wav", sound=ramp(RATE))
    (tmp_path / "source" / "b.mp4").write_bytes(b"")
    with pytest.raises(DataError, match=r"none of 2 files could be packed: no_video 1, not_media 1; the first: a\.wav"):
        packed(spec_of(), tmp_path, tmp_path / "source")
    assert not (tmp_path / "output" / MANIFEST).exists()


def test_an_output_in_the_source_or_full_of_other_things_is_refused(tmp_path: Path) -> None:
    source = media(tmp_path, "a.mkv")
    with pytest.raises(UserError, match="lie in one another"):
        packed(spec_of(), tmp_path, source, "source/packed")
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / "thesis.tex").touch()
    with pytest.raises(UserError, match=r"holds other things \(thesis\.tex\)"):
        packed(spec_of(), tmp_path, source)
    assert (tmp_path / "output" / "thesis.tex").exists()
