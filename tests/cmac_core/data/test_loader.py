"""What a batch shows does not depend on who reads it."""

from pathlib import Path

import pytest
import torch

from cmac_core.data.dataset import open_dataset
from cmac_core.data.loader import Cut, Loader
from cmac_core.data.raw_batch import RawBatch
from cmac_core.data.sampler import Position, Sampler
from tests.cmac_core.training.tiny import CLIPS, write_clips

START = Position()
CUT = Cut(frames=4, fps=8.0, sample_rate=24_000)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clips(tmp_path_factory.mktemp("loader") / "set")


def read(dataset: Path, position: Position = START, steps: int = 2, cut: Cut = CUT, **options: int) -> list[RawBatch]:
    loader = Loader(open_dataset(dataset), range(CLIPS), Sampler(CLIPS, 4, 7), cut, **options)
    return list(loader.batches(position, steps))


def test_ranks_read_what_one_process_reads(dataset: Path) -> None:
    whole = read(dataset)
    parts = [read(dataset, rank=rank, ranks=2) for rank in range(2)]
    for step in range(2):
        assert torch.cat([part[step].sound for part in parts]).equal(whole[step].sound)
        assert torch.cat([part[step].pixels for part in parts]).equal(whole[step].pixels)
        assert [draw for part in parts for draw in part[step].draws] == whole[step].draws


def test_it_starts_anywhere(dataset: Path) -> None:
    assert read(dataset, Position(0, 3), steps=2)[1].pixels.equal(read(dataset, Position(1, 0), steps=1)[0].pixels)


def test_two_clips_of_a_video_are_neighbors_and_differ(dataset: Path) -> None:
    (batch,) = read(dataset, steps=1, clips_per_video=2)
    assert batch.video_id[::2].equal(batch.video_id[1::2])
    assert batch.draws[1] == (int(batch.video_id[0]), 1)
    assert not batch.sound[0].equal(batch.sound[1])


def test_one_clip_may_be_shown_twice_with_draws_of_its_own(dataset: Path) -> None:
    (batch,) = read(dataset, steps=1, clips_per_video=2, same_window=True)
    assert batch.sound[::2].equal(batch.sound[1::2])
    pictures = batch.pictures(batch.pixels)
    assert all(one.equal(other) for one, other in zip(pictures[::2], pictures[1::2], strict=True))
    assert batch.draws[1] == (batch.draws[0][0], 1)  # so it is augmented otherwise
    (apart,) = read(dataset, steps=1, clips_per_video=2)
    assert batch.sound[0].equal(apart.sound[0])


def test_pictures_are_views_of_any_size(dataset: Path) -> None:
    (batch,) = read(dataset, steps=1)
    pictures = batch.pictures(batch.pixels)
    assert {picture.shape[1:3] for picture in pictures} == {(40, 48), (44, 40)}
    assert all(picture.shape[0] == 4 for picture in pictures)
    assert pictures[0].data_ptr() == batch.pixels.data_ptr()


@pytest.mark.parametrize(("video", "audio"), [(True, False), (False, True)])
def test_what_is_not_looked_at_is_not_read(dataset: Path, video: bool, audio: bool) -> None:
    (batch,) = read(dataset, steps=1, cut=CUT._replace(video=video, audio=audio))
    assert bool(batch.sizes) == video
    assert (batch.sound.shape == (4, 12_000)) == audio
