"""Windows are right to the frame and to the sample, on the container's clock."""

import resource
from pathlib import Path

import numpy as np
import pytest

from cmac_core.data.manifest import Clip
from cmac_core.data.memory import Memory, decoded_bytes
from cmac_core.data.windows import BrokenClip, nearest, read_window, read_windows
from tests.cmac_core.data.made_media import RATE, number_of, numbered, packed_clip, ramp, write_media

FPS = 25


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Clip]:
    """3 s of numbered frames from 0 on; 2.4 s of sound that begins at 0.2 s."""
    path = tmp_path_factory.mktemp("windows") / "made.mkv"
    write_media(path, numbered(75), sound=ramp(round(2.4 * RATE)), sound_start=0.2, fps=FPS)
    return packed_clip(path)


def numbers(frames: np.ndarray | None) -> list[int]:
    assert frames is not None
    return [number_of(frame) for frame in frames]


def test_frames_and_samples_are_exact_from_any_start(made: tuple[Path, Clip]) -> None:
    path, clip = made
    truth = np.concatenate([np.zeros(round(0.2 * RATE), np.int16), ramp(round(2.4 * RATE)), np.zeros(RATE, np.int16)])
    for t0 in np.linspace(0, 2, 41):
        window = read_window(path, clip, float(t0), frames=FPS, fps=FPS, sample_rate=RATE)
        assert window.frames is not None
        assert window.sound is not None
        assert window.frames.shape == (25, 48, 64, 3)
        assert window.frames.dtype == np.uint8
        for i, number in enumerate(numbers(window.frames)):
            assert abs(number - (t0 + i / FPS) * FPS) <= 0.5 + 1e-3
        first = round((t0 - 0.2) * RATE) + round(0.2 * RATE)
        np.testing.assert_array_equal(window.sound, truth[first : first + RATE])


def test_a_slower_file_repeats_frames_and_a_faster_one_skips(made: tuple[Path, Clip]) -> None:
    path, clip = made
    fast = read_window(path, clip, 1.0, frames=10, fps=50, sample_rate=RATE)
    slow = read_window(path, clip, 1.0, frames=5, fps=5, sample_rate=RATE)
    assert numbers(fast.frames) == [25, 25, 26, 26, 27, 27, 28, 28, 29, 29]  # the earlier one on a tie
    assert numbers(slow.frames) == [25, 30, 35, 40, 45]
    assert slow.sound is not None
    assert len(slow.sound) == RATE


def test_outside_the_streams_frames_are_the_edge_and_sound_is_zero(made: tuple[Path, Clip]) -> None:
    path, clip = made
    early = read_window(path, clip, -0.2, frames=10, fps=FPS, sample_rate=RATE)
    late = read_window(path, clip, 2.8, frames=10, fps=FPS, sample_rate=RATE)
    assert numbers(early.frames) == [0, 0, 0, 0, 0, 0, 1, 2, 3, 4]
    assert numbers(late.frames) == [70, 71, 72, 73, 74, 74, 74, 74, 74, 74]
    assert early.sound is not None
    assert late.sound is not None
    assert not early.sound.any()
    assert not late.sound.any()


def test_a_video_shorter_than_the_window_is_looped(made: tuple[Path, Clip]) -> None:
    path, clip = made
    window = read_window(path, clip, 0.0, frames=20, fps=5, sample_rate=RATE, audio=False)
    assert numbers(window.frames) == [*range(0, 75, 5), 0, 5, 10, 15, 20]


def test_a_window_of_the_videos_own_length_is_not_looped(made: tuple[Path, Clip]) -> None:
    path, clip = made
    window = read_window(path, clip, 0.0, frames=75, fps=FPS, sample_rate=RATE, audio=False)
    assert numbers(window.frames) == list(range(75))


def test_many_windows_of_one_pass_are_the_same_as_one_by_one(made: tuple[Path, Clip]) -> None:
    path, clip = made
    starts = [1.7, 0.0, 0.33, 0.9, 0.0]
    together = read_windows(path, clip, starts, frames=8, fps=8, sample_rate=RATE)
    for t0, window in zip(starts, together, strict=True):
        alone = read_window(path, clip, t0, frames=8, fps=8, sample_rate=RATE)
        assert alone.frames is not None
        assert alone.sound is not None
        np.testing.assert_array_equal(window.frames, alone.frames)
        np.testing.assert_array_equal(window.sound, alone.sound)


def test_a_far_window_is_sought_and_not_decoded_up_to(tmp_path: Path) -> None:
    path, clip = packed_clip(write_media(tmp_path / "long.mkv", numbered(80), fps=2))
    first, last = read_windows(path, clip, [0.0, 38.0], frames=2, fps=2, sample_rate=RATE)
    assert (numbers(first.frames), numbers(last.frames)) == ([0, 1], [76, 77])


def test_only_what_is_asked_for_is_read(made: tuple[Path, Clip]) -> None:
    path, clip = made
    seen = read_window(path, clip, 0.5, frames=4, fps=FPS, sample_rate=RATE, audio=False)
    heard = read_window(path, clip, 0.5, frames=4, fps=FPS, sample_rate=RATE, seconds=2.0, video=False)
    assert seen.sound is None
    assert heard.frames is None
    assert heard.sound is not None
    assert len(heard.sound) == 2 * RATE


def test_a_rate_that_was_not_packed_is_refused(made: tuple[Path, Clip]) -> None:
    path, clip = made
    with pytest.raises(ValueError, match="packed at 24000 Hz, not at 16000"):
        read_window(path, clip, 0.0, frames=4, fps=FPS, sample_rate=16_000)


def test_a_file_that_is_gone_or_damaged_is_a_broken_clip(made: tuple[Path, Clip], tmp_path: Path) -> None:
    path, clip = made
    with pytest.raises(BrokenClip, match="one"):
        read_window(tmp_path / "none.mkv", clip, 0.0, frames=4, fps=FPS, sample_rate=RATE)
    (tmp_path / "torn.mkv").write_bytes(path.read_bytes()[:600])
    with pytest.raises(BrokenClip, match="one"):
        read_window(tmp_path / "torn.mkv", clip, 1.0, frames=4, fps=FPS, sample_rate=RATE)


def test_a_file_without_the_streams_of_its_manifest_is_a_broken_clip(tmp_path: Path) -> None:
    path, clip = packed_clip(write_media(tmp_path / "mute.mkv", numbered(25)))
    claimed = clip.model_copy(update={"has_audio": True, "samples": RATE, "sample_rate": RATE})
    with pytest.raises(BrokenClip, match="has not the streams"):
        read_window(path, claimed, 0.0, frames=4, fps=FPS, sample_rate=RATE)


def test_nearest_takes_the_earlier_of_two_equally_near() -> None:
    times = np.array([0.0, 1.0, 3.0])
    assert nearest(times, np.array([-1.0, 0.5, 0.51, 2.0, 2.1, 9.0])) == [0, 0, 1, 1, 2, 2]
    assert nearest(times[:1], np.array([5.0, -5.0])) == [0, 0]


def test_windows_of_what_was_read_whole_are_those_of_the_file(made: tuple[Path, Clip]) -> None:
    path, clip = made
    starts = [1.7, -0.4, 0.33, 2.55, 0.0, 9.0]
    kept = Memory(video=True, audio=True).windows(path, clip, starts, 8, 8.0)
    for window, other in zip(kept, read_windows(path, clip, starts, frames=8, fps=8, sample_rate=RATE), strict=True):
        np.testing.assert_array_equal(window.frames, other.frames)
        np.testing.assert_array_equal(window.sound, other.sound)
    (seen,) = Memory(video=True, audio=False).windows(path, clip, [0.5], 8, 8.0)
    (heard,) = Memory(video=False, audio=True).windows(path, clip, [0.5], 8, 8.0)
    assert (seen.sound, heard.frames) == (None, None)


def test_a_file_is_decoded_once_and_holds_no_thread(made: tuple[Path, Clip], tmp_path: Path) -> None:
    path, clip = made
    copy = tmp_path / "copy.mkv"
    copy.write_bytes(path.read_bytes())
    memory = Memory(video=True, audio=True)
    before = len(list(Path("/proc/self/task").iterdir()))
    (first,) = memory.windows(copy, clip, [0.5], 8, 8.0)
    assert len(list(Path("/proc/self/task").iterdir())) == before
    copy.unlink()
    (again,) = memory.windows(copy, clip, [0.5], 8, 8.0)
    np.testing.assert_array_equal(again.frames, first.frames)


def test_of_a_file_that_ends_early_windows_are_those_of_the_file_too(made: tuple[Path, Clip], tmp_path: Path) -> None:
    path, clip = made
    torn = tmp_path / "torn.mkv"
    torn.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    starts = [0.0, 1.2, 2.0]
    kept = Memory(video=True, audio=True).windows(torn, clip, starts, 8, 8.0)
    for t0, window in zip(starts, kept, strict=True):
        alone = read_window(torn, clip, t0, frames=8, fps=8, sample_rate=RATE)
        np.testing.assert_array_equal(window.frames, alone.frames)
        np.testing.assert_array_equal(window.sound, alone.sound)
    with pytest.raises(BrokenClip, match="one"):
        Memory(video=True, audio=True).windows(tmp_path / "none.mkv", clip, [0.0], 8, 8.0)


def test_too_many_open_files_are_no_clips_fault(made: tuple[Path, Clip]) -> None:
    path, clip = made
    soft, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, most))
    try:
        with pytest.raises(OSError, match="Too many open files") as caught:
            read_window(path, clip, 0.0, frames=4, fps=FPS, sample_rate=RATE)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, most))
    assert not isinstance(caught.value, BrokenClip)


def test_how_much_memory_decoded_clips_take(made: tuple[Path, Clip]) -> None:
    _, clip = made
    sizes = {"frames": 10, "width": 4, "height": 2, "samples": 100, "has_audio": True}
    clip = clip.model_copy(update=sizes)
    assert decoded_bytes([clip, clip], video=True, audio=True) == 2 * (10 * 4 * 2 * 3 + 2 * 100)
    assert decoded_bytes([clip], video=False, audio=True) == 200
