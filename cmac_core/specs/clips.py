"""How a clip is cut out of a video, and how its frames and its sound are made ready (METHOD 2, 4)."""

from typing import Annotated, Any, Literal, Self

from pydantic import (
    Discriminator,
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Tag,
    model_validator,
)

from cmac_core.specs.base import Spec

Share = Annotated[float, Field(ge=0, le=1)]

MEMORY = "With workers 0, a set whose decoded clips take no more is decoded once and kept, by each rank."


def _channels(value: object) -> str:
    return "<rgb>" if isinstance(value, list | tuple) else "<all>"


# One number for all three channels, or one for each of R, G, B.
ChannelMean = Annotated[
    Annotated[float, Tag("<all>")] | Annotated[tuple[float, float, float], Tag("<rgb>")], Discriminator(_channels)
]
ChannelStd = Annotated[
    Annotated[PositiveFloat, Tag("<all>")]
    | Annotated[tuple[PositiveFloat, PositiveFloat, PositiveFloat], Tag("<rgb>")],
    Discriminator(_channels),
]


def check_short_side(short_side: tuple[int, int], crop: int) -> None:
    """Raises ValueError when a resized picture could be smaller than the crop."""
    low, high = short_side
    if low > high:
        raise ValueError(f"short_side: the range {low} to {high} is empty; put the smaller length first")
    if low < crop:
        raise ValueError(f"short_side: {low} is smaller than the crop of {crop}; make it at least {crop}")


class ColorJitter(Spec):
    """Brightness, contrast and saturation in random order, one draw per clip, on RGB in [0, 1]."""

    on: bool = True
    brightness: Share = 0.4
    contrast: Share = 0.4
    saturation: Share = 0.4
    p: Share = 1.0


class ClipSampling(Spec):
    """The window of a pretraining clip and its augmentation (METHOD 4)."""

    fps: PositiveFloat = 30.0
    frames: PositiveInt = Field(30, le=10_000, description="Frames a clip; the window lasts frames / fps seconds.")
    crop: PositiveInt = Field(128, le=4096, description="Side of the square crop, pixels.")
    short_side: tuple[PositiveInt, PositiveInt] = Field(
        (128, 160), description="The short side is resized to a length drawn from this range, pixels."
    )
    hflip: Share = 0.5
    mean: ChannelMean = Field(0.45, description="Of pixels in [0, 1]; a number, or one each for R, G, B.")
    std: ChannelStd = Field(0.225, description="As mean.")
    color_jitter: ColorJitter = ColorJitter()
    silent: Literal["drop", "keep"] = Field(
        "drop", description="Clips whose peak stays below -60 dBFS: equal silences are false negatives."
    )
    retry_chain: PositiveInt = Field(10, description="How many replacements are tried for a broken clip.")
    max_bad_share: Share = Field(0.001, description="The job fails when more clips than this had to be replaced.")
    workers: NonNegativeInt = Field(2, description="Loader processes per rank; they only decode.")
    memory_gb: NonNegativeFloat = Field(1.0, description=MEMORY)

    @property
    def seconds(self) -> float:
        """Length of the window; the sound of a clip has round(seconds * sample_rate) samples."""
        return self.frames / self.fps

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        check_short_side(self.short_side, self.crop)
        return self


class SpecAugment(Spec):
    """Time warp, then frequency masks, then time masks, on normalised log-mel (METHOD 2.3)."""

    W: NonNegativeInt = Field(5, description="Largest shift of the time warp, frames; 0 is none.")
    n_freq: NonNegativeInt = 1
    F: NonNegativeInt = Field(20, description="Masks are floor(U(0, F)) bands wide.")
    n_time: NonNegativeInt = 1
    T: NonNegativeInt = Field(6, description="Masks are floor(U(0, T)) frames wide.")


GDT_FORCED: dict[str, Any] = {"n_fft": 1024, "log_floor": 2.220446049250313e-16}


class AudioFrontEnd(Spec):
    """Mono sound to log-mel pictures: ours (METHOD 2.1), or that of GDT and SeLaVi (METHOD 2.2).

    `gdt` fixes n_fft and log_floor, has no Hann window, and its pictures are scaled by GDT's own two numbers.
    """

    frontend: Literal["mel", "gdt"] = "mel"
    sample_rate: PositiveInt = Field(24_000, le=1_000_000)
    win: PositiveFloat = Field(0.02, description="Window, seconds.")
    hop: PositiveFloat = Field(0.01, description="Hop, seconds.")
    n_fft: PositiveInt = Field(2048, le=1 << 20)
    n_mels: PositiveInt = Field(257, le=65_536)
    log_floor: PositiveFloat = 1e-8
    volume_jitter: NonNegativeFloat = 0.0
    specaug: SpecAugment = SpecAugment()

    @model_validator(mode="before")
    @classmethod
    def _gdt_defaults(cls, body: object) -> object:
        return GDT_FORCED | body if isinstance(body, dict) and body.get("frontend") == "gdt" else body

    @model_validator(mode="after")
    def _gdt_is_fixed(self) -> Self:
        for name, value in GDT_FORCED.items() if self.frontend == "gdt" else ():
            if getattr(self, name) != value:
                raise ValueError(f"{name}: frontend gdt has {value}; leave it out, or set frontend to mel")
        return self

    @model_validator(mode="after")
    def _window_fits(self) -> Self:
        if round(self.win * self.sample_rate) > self.n_fft:
            raise ValueError(f"n_fft: {self.n_fft} is shorter than the window of {self.win} s")
        return self


class ClipGeometry(Spec):
    """What an evaluation shows an encoder: fixed windows, centre crop, nothing random (METHOD 7.2)."""

    frames: PositiveInt = Field(32, le=10_000)
    fps: PositiveFloat = 30.0
    crop: PositiveInt = Field(128, le=4096)
