"""Datasets are found by name, version and id, and kept while somebody reads them."""

from pathlib import Path

import pytest

from cmac_core.data.manifest import QUARANTINE, Quarantined
from store import datasets, verbs
from store.errors import Forbidden, InUse, NotFound
from store.keys import Principal, Role
from tests.store.lab import Lab

STRANGER = Principal("eva", Role.admin, project="elsewhere")


def test_a_name_is_its_newest_version(lab: Lab) -> None:
    newest = lab.dataset(version=2)
    assert datasets.get(lab.session, "moving", lab.principal) is newest
    assert datasets.get(lab.session, "moving@1", lab.principal).version == 1
    assert datasets.get(lab.session, str(newest.id), lab.principal) is newest
    assert datasets.find(lab.session, "moving@3", lab.principal) is None
    assert {one.reference for one in datasets.listed(lab.session, lab.principal)} == {"moving@1", "moving@2"}


@pytest.mark.parametrize("reference", ["nothing", "moving@9", "moving@x", "00000000-0000-0000-0000-000000000000"])
def test_what_is_not_there_is_not_found(lab: Lab, reference: str) -> None:
    with pytest.raises(NotFound):
        datasets.get(lab.session, reference, lab.principal)


def test_another_project_sees_nothing(lab: Lab) -> None:
    assert datasets.listed(lab.session, STRANGER) == []
    assert datasets.find(lab.session, "moving", STRANGER) is None
    with pytest.raises(NotFound):
        datasets.get(lab.session, "moving", STRANGER)


def test_what_an_unfinished_job_reads_is_not_archived(lab: Lab) -> None:
    job = lab.submit()
    dataset = datasets.get(lab.session, "moving", lab.principal)
    with pytest.raises(InUse) as caught:
        datasets.archive(lab.session, dataset.id, lab.principal)
    assert caught.value.members == {"by": str(job.id)}
    verbs.cancel(lab.session, job.id, lab.principal)
    with pytest.raises(Forbidden):
        datasets.archive(lab.session, dataset.id, lab.someone("eva"))
    datasets.archive(lab.session, dataset.id, lab.principal)
    assert datasets.find(lab.session, "moving", lab.principal) is None
    assert datasets.get(lab.session, "moving", lab.principal).state == "archived"


def test_rejected_files_are_listed_with_their_reasons(lab: Lab, tmp_path: Path) -> None:
    dataset = lab.dataset("torn", path=str(tmp_path), quarantined=1)
    with pytest.raises(NotFound, match="gone"):
        datasets.quarantine(lab.session, dataset)
    (tmp_path / QUARANTINE).write_text(Quarantined(source="a.mp4", reason="truncated").model_dump_json() + "\n")
    assert datasets.quarantine(lab.session, dataset) == [{"source": "a.mp4", "reason": "truncated", "detail": ""}]
