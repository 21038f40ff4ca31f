"""Shards and the merge that waits for them, checked when they are submitted."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from cmac_core.events import DatasetMade, Result
from store import attempts, jobs, roots
from store.ends import Reason
from store.errors import Incompatible, InvalidSpec, SpecProblem, UnknownReference
from store.settings import settings
from store.states import JobState
from store.tables import Job
from tests.store.lab import Lab

MADE = DatasetMade(
    path="/d", manifest_sha256="1" * 64, clips=8, quarantined=0, hours=0.1, bytes=10, media="video", with_audio=8,
    labels={},
)  # fmt: skip


@pytest.fixture
def source(lab: Lab, tmp_path: Path) -> dict[str, str]:
    roots.add(lab.session, "media", tmp_path, lab.principal)
    return {"root": "media", "path": "."}


def shard(lab: Lab, source: dict[str, str], index: int, of: int = 2, **changes: Any) -> Job:
    return lab.submit("pack", source=source, shard={"index": index, "of": of}, **changes)


def merge(lab: Lab, source: dict[str, str], *shards: Job, **changes: Any) -> Job:
    return lab.submit("pack", source=source, merge=[{"job": str(job.id)} for job in shards], **changes)


def pack(lab: Lab, job: Job, *events: Any) -> None:
    lease = lab.run(lab.again(job))
    lab.tell(lease, *events)
    lab.finish(lease)


def test_a_merge_waits_for_its_shards_and_reads_their_folders(lab: Lab, source: dict[str, str]) -> None:
    first, second = shard(lab, source, 0), shard(lab, source, 1)
    merged = merge(lab, source, first, second, dataset="whole")
    assert merged.state is JobState.blocked
    for job in (first, second):
        pack(lab, job, Result(values=(), protocol={}))
        assert lab.again(job).state is JobState.succeeded
    work = attempts.adopt(lab.session, lab.claim(lab.again(merged)), 1, 1, 1, "b")
    folders = {key: file["path"] for key, file in work.inputs.items() if key.startswith("packed.")}
    assert folders == {
        f"packed.{i}": str(settings().datasets_dir / str(job.id)) for i, job in enumerate((first, second))
    }  # fmt: skip
    assert work.problem is None


def test_a_shard_makes_no_version_of_the_dataset_and_a_pack_without_one_has_failed(
    lab: Lab, source: dict[str, str]
) -> None:
    job = shard(lab, source, 0)
    pack(lab, job)
    assert lab.again(job).state is JobState.failed  # not even its numbers
    whole = lab.submit("pack", source=source)
    pack(lab, whole, Result(values=(), protocol={}))
    assert "no dataset" in (lab.again(whole).detail or "")
    other = lab.submit("pack", source=source, dataset="other")
    pack(lab, other, Result(values=(), protocol={}), MADE)
    assert lab.again(other).state is JobState.succeeded


def test_a_merge_of_a_failed_shard_goes_on_with_its_retry(lab: Lab, source: dict[str, str]) -> None:
    first, second = shard(lab, source, 0), shard(lab, source, 1)
    merged = merge(lab, source, first, second)
    lab.finish(lab.run(first), Reason.data_error)
    assert lab.again(merged).state is JobState.cancelled
    with pytest.raises(Incompatible) as caught:
        jobs.retry(lab.session, merged.id, lab.principal)
    assert "that shard has failed; retry it" in caught.value.errors[0].message
    retried = jobs.retry(lab.session, first.id, lab.principal)
    again = jobs.retry(lab.session, merged.id, lab.principal)
    assert again.state is JobState.blocked
    assert {edge["job"] for edge in jobs.edges(lab.session, again.id)["after"]} == {
        str(retried.id), str(second.id),
    }  # fmt: skip
    for job in (retried, second):
        pack(lab, job, Result(values=(), protocol={}))
    work = attempts.adopt(lab.session, lab.claim(lab.again(again)), 1, 1, 1, "b")
    assert work.inputs["packed.0"]["path"] == str(settings().datasets_dir / str(retried.id))


def test_a_retried_pack_takes_over_what_the_failed_one_had_packed(lab: Lab, source: dict[str, str]) -> None:
    job = lab.submit("pack", source=source)
    lab.finish(lab.run(job), Reason.data_error)
    bare = jobs.retry(lab.session, job.id, lab.principal)
    work = attempts.adopt(lab.session, lab.claim(bare), 1, 1, 1, "b")
    assert "packed.0" not in work.inputs  # it had not come as far as a folder
    (settings().datasets_dir / str(job.id)).mkdir(parents=True)
    attempts.ready(lab.session, work.lease)
    lab.finish(work.lease, Reason.data_error)
    again = jobs.retry(lab.session, bare.id, lab.principal)
    work = attempts.adopt(lab.session, lab.claim(again), 1, 1, 1, "b")
    assert work.inputs["packed.0"]["path"] == str(settings().datasets_dir / str(job.id))


def refused(lab: Lab, kind: type[SpecProblem], source: dict[str, str], *shards: Job, **changes: Any) -> dict[str, str]:
    with pytest.raises(kind) as caught:
        merge(lab, source, *shards, **changes)
    return {error.pointer: error.message for error in caught.value.errors}


def test_what_is_no_shard_of_a_merge_is_named(lab: Lab, source: dict[str, str]) -> None:
    first, whole, third = shard(lab, source, 0), lab.submit("pack", source=source), shard(lab, source, 0, of=3)
    told = refused(lab, Incompatible, source, first, whole)
    assert told == {"/merge/1/job": "that job is a pack of a whole dataset, and no shard"}
    assert refused(lab, Incompatible, source, first, third) == {"/merge/1/job": "that is a shard of 3, and 2 are named"}
    assert "that job is a pretrain" in refused(lab, Incompatible, source, first, lab.submit())["/merge/1/job"]
    other = shard(lab, source, 1, crf=23)
    told = refused(lab, Incompatible, source, first, other)
    assert told == {"/merge/1/job": "that shard was packed otherwise: crf 23, not 20"}
    told = refused(lab, InvalidSpec, source, first, shard(lab, source, 0))
    assert told == {"/merge/1/job": "shard 0 is named twice, also as /merge/0"}


def test_a_shard_that_does_not_exist_is_unknown(lab: Lab, source: dict[str, str]) -> None:
    first = shard(lab, source, 0)
    with pytest.raises(UnknownReference) as caught:
        lab.submit("pack", source=source, merge=[{"job": str(first.id)}, {"job": str(uuid.uuid4())}])
    assert [error.pointer for error in caught.value.errors] == ["/merge/1/job"]
