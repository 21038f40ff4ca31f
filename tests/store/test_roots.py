"""Media are read below named folders and nowhere else."""

from pathlib import Path

import pytest

from store import roots
from store.errors import AlreadyExists, BadRequest, Forbidden, InvalidSpec, UnknownReference
from store.keys import Role
from tests.store.lab import Lab


@pytest.fixture
def media(lab: Lab, tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "films" / "one").mkdir(parents=True)
    (tmp_path / "private").mkdir()
    (folder / "out").symlink_to(tmp_path / "private")
    (folder / "again").symlink_to(folder / "films")
    (folder / "file").touch()
    roots.add(lab.session, "media", folder, lab.principal)
    return folder


def test_folders_below_are_found_also_through_links_that_stay_inside(lab: Lab, media: Path) -> None:
    assert roots.resolve(lab.session, "media", "films/one") == media / "films" / "one"
    assert roots.resolve(lab.session, "media", ".") == media
    assert roots.resolve(lab.session, "media", "again/one") == media / "films" / "one"


@pytest.mark.parametrize(
    "path", ["..", "films/../..", "/etc", "out", "nothing", "file", "a\0b", "file:///etc", "films/../../private"]
)
def test_everything_else_is_refused(lab: Lab, media: Path, path: str) -> None:
    with pytest.raises(ValueError, match=r"root|relative|out of|no folder"):
        roots.resolve(lab.session, "media", path)


def test_an_unknown_root_names_those_there_are(lab: Lab, media: Path) -> None:
    with pytest.raises(ValueError, match="known: media"):
        roots.resolve(lab.session, "mdia", ".")


def test_a_pack_names_its_source_and_errors_point_at_it(lab: Lab, media: Path) -> None:
    job = lab.submit("pack", source={"root": "media", "path": "films"})
    assert job.spec["source"] == {"root": "media", "path": "films"}
    for source, pointer, kind in (
        ({"root": "other"}, "/source/root", UnknownReference),
        ({"root": "media", "path": "nothing"}, "/source/path", UnknownReference),
        ({"root": "media", "path": "../private"}, "/source/path", InvalidSpec),
        ({"root": "media", "path": "out"}, "/source/path", InvalidSpec),
    ):
        with pytest.raises(kind) as caught:
            lab.submit("pack", source=source)
        assert [error.pointer for error in caught.value.errors] == [pointer]


def test_operators_add_roots_and_a_name_means_one_folder(lab: Lab, media: Path, tmp_path: Path) -> None:
    assert roots.add(lab.session, "media", media, lab.principal).name == "media"
    assert [root.name for root in roots.listed(lab.session)] == ["media"]
    with pytest.raises(AlreadyExists):
        roots.add(lab.session, "media", tmp_path, lab.principal)
    with pytest.raises(BadRequest):
        roots.add(lab.session, "none", tmp_path / "none", lab.principal)
    with pytest.raises(BadRequest):
        roots.add(lab.session, "relative", Path("media"), lab.principal)
    with pytest.raises(Forbidden):
        roots.add(lab.session, "mine", media, lab.someone("eva", Role.submitter))
