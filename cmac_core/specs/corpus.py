"""The generated corpus "sounding objects": what it is made of, and how hard it is."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat

from cmac_core.specs.base import Spec


class SoundingObjects(Spec):
    """Objects over textured ground, one of which sounds in time with what it does (RULINGS 10).

    `easy`: silent objects rest and are dim. `middle`: a silent object moves as much, in a manner that
    makes no sound, and one that looks like a sounding class rests. `hard`: more of them, more noise.
    """

    generate: Literal["sounding-objects"]
    grade: Literal["easy", "middle", "hard"] = "middle"
    clips: Annotated[int, Field(ge=8, le=100_000)] = 500
    classes: Annotated[int, Field(ge=2, le=8)] = 8
    seconds: Annotated[float, Field(ge=1, le=60)] = 2.0
    fps: PositiveFloat = 8.0
    size: Annotated[int, Field(ge=48, le=512, multiple_of=2)] = 80
    test_share: Annotated[float, Field(gt=0, lt=1)] = 0.2
    seed: NonNegativeInt = 0
