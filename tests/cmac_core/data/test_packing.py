"""One file in, one clip out: real awkward files by name, made ones to the frame and the sample."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest

from cmac_core.data.media import Rejected
from cmac_core.data.packing import Form, pack_file, shrunk
from cmac_core.data.windows import read_window
from tests.cmac_core.data.made_media import (
    AUDIO,
    RATE,
    SHARED,
    VIDEO,
    clip_of,
    needs_shared,
    number_of,
    numbered,
    packed_clip,
    ramp,
    write_media,
)

# frames, frames a second, width x height, seconds of sound (0: none); or the reason why it is no video clip.
FILES: dict[str, tuple[int, float, str, float] | str] = {
    "formats/acoustic_scene.wav": "no_video",
    "formats/av1_video.mkv": (125, 25, "284x160", 0),
    "formats/bigbuckbunny.mp4": (132, 25, "284x160", 5.312),  # 5.1 channels
    "formats/bikes.mp4": (250, 25, "376x160", 0),
    "formats/bt709_full_range.mp4": (30, 30, "284x160", 0),
    "formats/carphone_pristine.mp4": (120, 29.97, "176x144", 0),
    "formats/corrupted.mp4": "decode_error",
    "formats/cup.mp4": (217, 26.777, "214x160", 8.107),
    "formats/h265_10bits.mp4": (30, 30, "160x160", 0),
    "formats/h265_video.mp4": (10, 10, "128x128", 0),
    "formats/nasa_13013.mp4": (390, 29.97, "284x160", 13.056),  # two videos: the better one
    "formats/realshort.mp4": (36, 30.02, "214x160", 1.173),
    "formats/sine_mono_s32_8000.wav": "no_video",
    "formats/test.avi": (164, 25, "214x160", 6.557),  # XviD: times go back and forth
    "formats/v_GGSY1Qvo990.mp4": (355, 19.62, "214x160", 18.158),
    "formats/video_90.mov": (3, 30, "160x284", 0),  # 568x320, to be turned
    "hmdb51/SchoolRulesHowTheyHelpUs_wave_f_nm_np1_ba_med_0.avi": (74, 29.59, "214x160", 0),
    "hmdb51/TrumanShow_wave_f_nm_np1_fr_med_26.avi": (48, 29.37, "288x160", 0),
    "kinetics400/R6llTwEh07w.mp4": (303, 30, "212x160", 10.008),
    "kinetics400/SOX5yA1l24A.mp4": (332, 29.97, "212x160", 11.072),
    "kinetics400/WUzgd7C1pWA.mp4": (327, 29.97, "212x160", 10.901),
    "ucf101/v_SoccerJuggling_g23_c01.avi": (240, 29.97, "214x160", 0),
    "ucf101/v_SoccerJuggling_g24_c01.avi": (251, 29.97, "214x160", 0),
}


@needs_shared
@pytest.mark.parametrize("name", FILES)
def test_every_real_file_is_packed_or_named_for_what_it_is(name: str, tmp_path: Path) -> None:
    expected, target = FILES[name], tmp_path / "clip.mkv"
    if isinstance(expected, str):
        with pytest.raises(Rejected) as rejected:
            pack_file(SHARED / "files" / name, target, VIDEO)
        assert rejected.value.reason == expected
        return
    frames, fps, size, seconds = expected
    packed = pack_file(SHARED / "files" / name, target, VIDEO)
    assert (packed.frames, f"{packed.width}x{packed.height}") == (frames, size)
    assert packed.fps == pytest.approx(fps, rel=1e-3)
    assert packed.samples / RATE == pytest.approx(seconds, abs=0.002)
    assert packed.has_audio == (seconds > 0)
    assert (packed.video_start_s, packed.audio_start_s) == (0, 0)
    window = read_window(
        target, clip_of(packed, target), packed.duration_s / 2, frames=2, fps=packed.fps, sample_rate=RATE
    )
    assert window.frames is not None
    assert window.frames.std() > 1


@needs_shared
def test_every_real_file_is_named_in_the_table() -> None:
    there = {path.relative_to(SHARED / "files").as_posix() for path in (SHARED / "files").rglob("*") if path.is_file()}
    assert there == set(FILES)


@needs_shared
def test_sound_alone_is_packed_from_sound_and_from_video(tmp_path: Path) -> None:
    formats = SHARED / "files" / "formats"
    for name, samples in {"acoustic_scene.wav": 240_001, "sine_mono_s32_8000.wav": 96_000, "cup.mp4": 194_560}.items():
        packed = pack_file(formats / name, tmp_path / "clip.mka", AUDIO)
        assert (packed.frames, packed.samples, packed.sample_rate) == (0, samples, RATE)
    with pytest.raises(Rejected, match="no_audio"):
        pack_file(formats / "bikes.mp4", tmp_path / "clip.mka", AUDIO)


@needs_shared
@pytest.mark.parametrize(
    ("name", "share"),
    [
        ("kinetics400/R6llTwEh07w.mp4", 0.5),  # its index stands at the end
        ("formats/cup.mp4", 0.6),  # its index stands at the beginning
        ("formats/av1_video.mkv", 0.5),
        ("ucf101/v_SoccerJuggling_g23_c01.avi", 0.5),
        ("formats/acoustic_scene.wav", 0.5),
    ],
)
def test_a_file_that_breaks_off_is_truncated(name: str, share: float, tmp_path: Path) -> None:
    source = SHARED / "files" / name
    torn = tmp_path / f"torn{source.suffix}"
    torn.write_bytes(source.read_bytes()[: int(share * source.stat().st_size)])
    with pytest.raises(Rejected) as rejected:
        pack_file(torn, tmp_path / "clip.mkv", AUDIO if source.suffix == ".wav" else VIDEO)
    assert rejected.value.reason == "truncated"


@needs_shared
def test_colors_survive_another_matrix_range_and_depth(tmp_path: Path) -> None:
    for name in ("bt709_full_range.mp4", "h265_10bits.mp4"):
        source = SHARED / "files" / "formats" / name
        packed = pack_file(source, tmp_path / "clip.mkv", VIDEO)
        with av.open(str(source)) as container:
            first = next(container.decode(video=0)).to_ndarray(format="rgb24")
        window = read_window(
            tmp_path / "clip.mkv", clip_of(packed, tmp_path / "clip.mkv"), 0.0, frames=1, fps=1, sample_rate=RATE
        )
        assert window.frames is not None
        np.testing.assert_allclose(window.frames[0].mean((0, 1)), first.mean((0, 1)), atol=3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not_media"),
        (b"just words\n" * 100, "not_media"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n/etc/hostname\n#EXT-X-ENDLIST\n", "not_media"),
        (b"ffconcat version 1.0\nfile /etc/hostname\n", "not_media"),
        (b"\x00\x00\x00\x18ftypmp42" + bytes(200), "truncated"),
    ],
    ids=["empty", "text", "playlist", "list of files", "half a header"],
)
def test_what_is_no_media_is_called_so(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "it.mp4").write_bytes(content)
    with pytest.raises(Rejected) as rejected:
        pack_file(tmp_path / "it.mp4", tmp_path / "clip.mkv", VIDEO)
    assert rejected.value.reason == reason


def test_too_short_and_too_long_files_are_called_so(tmp_path: Path) -> None:
    cases = [
        (write_media(tmp_path / "one.mkv", numbered(1)), VIDEO, "too_short"),
        (write_media(tmp_path / "blip.wav", sound=ramp(1000)), AUDIO, "too_short"),
        (write_media(tmp_path / "long.mkv", numbered(50)), Form("video", 160, 16, 20, max_seconds=1.5), "too_long"),
    ]
    for source, form, reason in cases:
        with pytest.raises(Rejected) as rejected:
            pack_file(source, tmp_path / "clip.mkv", form)
        assert rejected.value.reason == reason


def test_a_flash_and_a_click_stay_together_when_streams_start_apart(tmp_path: Path) -> None:
    """METHOD 10, `sync`: sound that starts 0.4 s after the picture, and picture that starts after the sound."""
    for picture_start, sound_start in [(0.0, 0.4), (0.52, 0.0), (1.0, 1.313)]:
        flash_at = 1.88  # on the container's clock
        times = [picture_start + i / 25 for i in range(75)]
        frames = np.zeros((75, 48, 64, 3), np.uint8)
        frames[round((flash_at - picture_start) * 25)] = 255
        sound = np.zeros(3 * RATE, np.int16)
        click = round((flash_at - sound_start) * RATE)
        sound[click : click + 240] = 20_000
        source = write_media(tmp_path / f"{sound_start}.mkv", frames, times, sound, sound_start=sound_start)
        path, clip = packed_clip(source)
        shift = min(picture_start, sound_start)  # the earlier stream now starts at 0
        assert clip.video_start_s == pytest.approx(picture_start - shift, abs=1e-3)
        assert clip.audio_start_s == pytest.approx(sound_start - shift, abs=1e-3)
        window = read_window(path, clip, flash_at - shift - 0.4, frames=25, fps=25, sample_rate=RATE)
        assert window.frames is not None
        assert window.sound is not None
        assert int(window.frames.mean((1, 2, 3)).argmax()) == 10
        assert abs(int((window.sound > 5000).argmax()) - round(0.4 * RATE)) <= 48  # Matroska's milliseconds, twice


def test_variable_frame_rates_keep_their_times(tmp_path: Path) -> None:
    times = [0.0, 0.04, 0.08, 0.5, 0.54, 1.0, 1.9, 1.94]
    path, clip = packed_clip(write_media(tmp_path / "variable.mkv", numbered(8), times))
    window = read_window(path, clip, 0.0, frames=20, fps=10, sample_rate=RATE)
    assert window.frames is not None
    expected = [int(np.abs(np.array(times) - i / 10).argmin()) for i in range(20)]
    assert [number_of(frame) for frame in window.frames] == expected
    assert clip.frames == 8


def test_gaps_in_the_sound_become_silence_and_what_follows_keeps_its_time(tmp_path: Path) -> None:
    sound = np.full(RATE, 9000, np.int16)
    half = RATE // 2
    source = write_media(tmp_path / "gap.mkv", sound=sound, sound_times=[(0.0, 0, half), (1.25, half, half)])
    path, clip = packed_clip(source, AUDIO)
    window = read_window(path, clip, 0.0, frames=2, fps=1, sample_rate=RATE)
    assert window.sound is not None
    assert clip.samples == round(1.75 * RATE)
    assert abs(np.flatnonzero(window.sound[half:])[0] + half - round(1.25 * RATE)) <= 24
    assert not window.sound[half + 24 : round(1.25 * RATE) - 24].any()


def test_mono_is_the_mean_of_all_channels_and_24_khz_passes_untouched(tmp_path: Path) -> None:
    left, right = ramp(RATE), (ramp(RATE) // 2)[::-1]
    path, clip = packed_clip(write_media(tmp_path / "two.wav", sound=np.stack([left, right]), layout="stereo"), AUDIO)
    window = read_window(path, clip, 0.0, frames=1, fps=1, sample_rate=RATE)
    assert window.sound is not None
    np.testing.assert_allclose(window.sound, (left.astype(float) + right) / 2, atol=0.5)


def test_six_channels_count_equally(tmp_path: Path) -> None:
    with wave.open(str(tmp_path / "six.wav"), "wb") as file:
        file.setnchannels(6)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(np.tile(np.array([600, 1200, 1800, 2400, 3000, 3600], "<i2"), RATE).tobytes())
    path, clip = packed_clip(tmp_path / "six.wav", AUDIO)
    window = read_window(path, clip, 0.0, frames=1, fps=1, sample_rate=RATE)
    assert window.sound is not None
    assert set(window.sound[100:-100].tolist()) == {2100}


@pytest.mark.parametrize("rate", [8000, 11_025, 44_100, 48_000])
def test_other_rates_are_resampled_without_a_shift(rate: int, tmp_path: Path) -> None:
    wave_in = (12_000 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)).astype(np.int16)
    path, clip = packed_clip(write_media(tmp_path / "tone.wav", sound=wave_in, rate=rate), AUDIO)
    window = read_window(path, clip, 0.5, frames=1, fps=1, sample_rate=RATE)
    assert window.sound is not None
    truth = 12_000 * np.sin(2 * np.pi * 440 * (0.5 + np.arange(RATE) / RATE))
    assert clip.samples == pytest.approx(2 * RATE, abs=2)
    assert np.abs(window.sound - truth).max() < 200


def test_silence_is_below_60_dbfs(tmp_path: Path) -> None:
    for level, silent, dbfs in [(0, True, -200), (2, True, -84.29), (32, True, -60.21), (34, False, -59.68)]:
        sound = np.full(RATE, level, np.int16)
        _, clip = packed_clip(write_media(tmp_path / "level.mkv", numbered(5), sound=sound))
        assert (clip.has_audio, clip.silent, clip.peak_dbfs) == (True, silent, pytest.approx(dbfs, abs=0.01))


def test_a_video_whose_sound_is_next_to_nothing_has_none(tmp_path: Path) -> None:
    _, clip = packed_clip(write_media(tmp_path / "blip.mkv", numbered(25), sound=ramp(1000)))
    assert (clip.has_audio, clip.samples, clip.peak_dbfs) == (False, 0, None)


def test_packing_twice_gives_equal_bytes(tmp_path: Path) -> None:
    source = write_media(tmp_path / "it.mp4", numbered(30), sound=ramp(RATE))
    first, second = tmp_path / "a.mkv", tmp_path / "b.mkv"
    assert pack_file(source, first, VIDEO) == pack_file(source, second, VIDEO)
    assert first.read_bytes() == second.read_bytes()


def test_packed_video_has_key_frames_every_gop_and_no_frame_that_waits_for_a_later_one(tmp_path: Path) -> None:
    path, _ = packed_clip(write_media(tmp_path / "it.mkv", numbered(70), sound=ramp(RATE)))
    with av.open(str(path)) as container:
        packets = [(p.stream.type, p.pts, p.size, p.is_keyframe) for p in container.demux() if p.size]
    video = [packet for packet in packets if packet[0] == "video"]
    keys = [i for i, (_, _, _, key) in enumerate(video) if key]
    assert max(np.diff([*keys, len(video)])) <= 16
    assert [pts for _, pts, _, _ in video] == sorted(pts or 0 for _, pts, _, _ in video)
    assert {size for kind, _, size, _ in packets if kind == "audio"} == {1920}


@pytest.mark.parametrize(
    ("size", "short", "expected"),
    [
        ((1920, 1080), 160, (284, 160)),
        ((1080, 1920), 160, (160, 284)),
        ((100, 60), 160, (100, 60)),  # never enlarged
        ((101, 61), 160, (100, 60)),  # even
        ((320, 240), 159, (210, 158)),
    ],
)
def test_the_short_side_shrinks_to_even_sizes(size: tuple[int, int], short: int, expected: tuple[int, int]) -> None:
    assert shrunk(*size, short) == expected
