"""A short film: the frames, s and ŝ over them, spectrograms with a moving cursor, and the clip's own sound."""

from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from cmac_core.data.windows import Sound
from cmac_core.evaluation.attention_maps import Attended, Key
from cmac_core.evaluation.overlays import FIXED, Picture, bare_sound, cropped, over_frames, over_sound

FPS = 25
SIDE, STRIP, BAR, GAP = 240, 96, 26, 6  # pixels; H.264 wants even sizes
# Where the bare input is in each picture, [x, y, width, height]: whoever draws maps of their own begins with it.
PANES = {"frames": [GAP, BAR, SIDE, SIDE], "sound": [GAP, BAR + SIDE + GAP, SIDE, STRIP]}
DARK, LIGHT, FAINT = (18, 22, 28), (235, 238, 242), (150, 160, 172)
TITLES = {"s": "s: guided by the other modality", "s_hat": "ŝ: the encoder's prediction"}
Canvas = npt.NDArray[np.uint8]


def make_film(path: Path, attended: Attended, spectrogram: Picture, sample_rate: int) -> None:
    """Write an MP4 (H.264 and AAC, index in front) that browsers play. `attended` holds frames at FPS."""
    sound = attended.window.sound
    assert sound is not None
    write_mp4(path, compose(attended, spectrogram), sound, sample_rate)


def compose(attended: Attended, spectrogram: Picture) -> list[Canvas]:
    """Pictures of the film: a column for the input, one for each map that there is."""
    frames = attended.window.frames
    assert frames is not None
    names = [name for name in ("s", "s_hat") if ("video", name) in attended.maps]
    columns = [[frame / 255.0 for frame in cropped(frames)]]
    strips = [bare_sound(spectrogram)]
    for name in names:
        video_key, audio_key = _keys(name)
        columns.append(over_frames(frames, attended.maps[video_key], FIXED))
        strips.append(over_sound(spectrogram, attended.maps[audio_key], FIXED))
    still = _still(attended, [_titles(name) for name in ("input", *names)], strips)
    return [_frame(still, [column[i] for column in columns], i / len(frames)) for i in range(len(frames))]


def _keys(name: str) -> tuple[Key, Key]:
    return (("video", "s"), ("audio", "s")) if name == "s" else (("video", "s_hat"), ("audio", "s_hat"))


def _titles(name: str) -> str:
    return TITLES.get(name, name)


def _still(attended: Attended, titles: Sequence[str], strips: Sequence[Picture]) -> Canvas:
    """All that does not move: names, spectrograms, the scale."""
    width = len(titles) * (SIDE + GAP) + GAP
    width, height = width + width % 2, 2 * BAR + SIDE + STRIP + 2 * GAP
    image = Image.new("RGB", (width, height + height % 2), DARK)
    draw = ImageDraw.Draw(image)
    for i, (title, strip) in enumerate(zip(titles, strips, strict=True)):
        left = GAP + i * (SIDE + GAP)
        draw.text((left, BAR // 2), title, LIGHT, font(13), anchor="lm")
        image.paste(_image(strip[::-1], SIDE, STRIP), (left, BAR + SIDE + GAP))
    end = attended.t0 + attended.seconds
    note = f"{attended.clip.id}   {attended.t0:.2f} to {end:.2f} s   colors: 0 (dark) to 1 (bright)"
    note += "   SILENT" if attended.silent else ""
    draw.text((GAP, height - BAR // 2), _fitted(draw, note, width - 2 * GAP), FAINT, font(12), anchor="lm")
    return np.array(image)


def _fitted(draw: ImageDraw.ImageDraw, text: str, width: int) -> str:
    while draw.textlength(text, font(12)) > width and len(text) > 8:
        text = "…" + text[4:] if text[0] == "…" else "…" + text[3:]
    return text


def _frame(still: Canvas, pictures: Sequence[Picture], at: float) -> Canvas:
    canvas = still.copy()
    for i, picture in enumerate(pictures):
        left = GAP + i * (SIDE + GAP)
        canvas[BAR : BAR + SIDE, left : left + SIDE] = np.array(_image(picture, SIDE, SIDE))
        if i == 0:
            continue  # the input stays bare: pages lay maps and a cursor of their own over it
        cursor = left + min(SIDE - 2, round(at * SIDE))
        canvas[BAR + SIDE + GAP : BAR + SIDE + GAP + STRIP, cursor : cursor + 2] = LIGHT
    return canvas


def _image(picture: Picture, width: int, height: int) -> Image.Image:
    whole = Image.fromarray((picture * 255).clip(0, 255).astype(np.uint8))
    return whole.resize((width, height), Image.Resampling.BICUBIC)


@cache
def font(size: int) -> ImageFont.FreeTypeFont:
    """DejaVu Sans, which comes with matplotlib and has ŝ."""
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size)


def write_mp4(path: Path, frames: Sequence[Canvas], sound: Sound, sample_rate: int) -> None:
    """Frames at FPS and mono sound, side by side from time zero."""
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "veryfast"})
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=sample_rate, layout="mono")
        for i, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = i, Fraction(1, FPS)
            container.mux(video.encode(picture))
        samples = av.AudioFrame.from_ndarray(sound[None, :], format="s16", layout="mono")
        samples.sample_rate, samples.pts, samples.time_base = sample_rate, 0, Fraction(1, sample_rate)
        container.mux(audio.encode(samples))
        container.mux([*video.encode(None), *audio.encode(None)])
