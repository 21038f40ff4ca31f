"""Sounding objects: what happens in a clip. Which objects there are, how each moves, when one of them sounds.

How difficulty grows (RULINGS 10, METHOD 13):

======  ===========================================================================================
easy    One silent object, faint and at rest, and pale colors. Finding the only thing that changes finds
        the sound.
middle  Two: one glides and fades as strongly as the sounding one hops and flashes, but smoothly and in
        no time with the sound; one looks like a sounding class, bright, and rests. Colors as in easy: what
        has to be heard is what this grade adds.
hard    Four, all smaller, in all colors: a glider, one that hops and flashes exactly as sounding ones do, but in
        a rhythm of its own, so that only hearing tells it; two at rest, one of them with the look of the sounding
        class. Noise is louder in both tracks, and a band of it comes and goes in a rhythm of its own.
======  ===========================================================================================
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cmac_core.specs.corpus import SoundingObjects

Curve = npt.NDArray[np.float64]  # a value for each frame

CLASSES = ("disk", "square", "triangle", "diamond", "cross", "ring", "bar", "bow")
LIT, UNLIT = 1.0, 0.4
MANNERS = ("hop", "shake", "grow", "spin", "hop", "grow", "shake", "spin")  # by class; all of them flash too


class Grade(NamedTuple):
    """What a grade of difficulty is made of."""

    radius: float  # of objects, share of the picture's side
    gliders: int
    offbeat: int
    resters: int
    rest_opacity: float
    colorful: float  # spread of the colors of ground and objects, share of the whole range
    picture_noise: float  # standard deviation, full scale 1
    contrast_db: float  # of the sounding band, between sounding and not
    steady_bands: int  # of other classes
    steady_db: tuple[float, float]  # their levels, against the sounding band's while it sounds
    offbeat_bands: int  # of other classes, each in a rhythm of its own


GRADES = {
    "easy": Grade(0.18, 0, 0, 1, 0.3, 0.2, 0.02, 24.0, 1, (-8.0, 8.0), 0),
    "middle": Grade(0.15, 1, 0, 1, 1.0, 0.2, 0.02, 18.0, 3, (-8.0, 6.0), 0),
    "hard": Grade(0.12, 1, 1, 2, 1.0, 1.0, 0.05, 14.0, 7, (-14.0, 4.0), 1),
}


class Thing(NamedTuple):
    """One object. x and y in shares of the picture; `light` 0 to 1; `angle` in turns."""

    look: int
    x: Curve
    y: Curve
    radius: Curve
    angle: Curve
    light: Curve
    moves: bool
    opacity: float = 1.0  # below 1 the ground shows through


class Scene(NamedTuple):
    """Everything that happens; the first thing is the one that sounds, `on` when it does, per frame."""

    cls: int
    things: list[Thing]
    on: npt.NDArray[np.bool_]


def compose(spec: SoundingObjects, cls: int, random: np.random.Generator) -> Scene:
    """A scene in which class `cls` sounds."""
    grade = GRADES[spec.grade]
    frames = max(2, round(spec.seconds * spec.fps))
    count = 1 + grade.gliders + grade.offbeat + grade.resters
    places = _places(count, grade.radius, random)
    on = rhythm(frames, spec.fps, random)
    looks = _looks(spec, cls, count, random)
    things = [_sounding(looks[0], places[0], grade.radius, on, random)]
    for look, place in zip(looks[1:], places[1:], strict=True):
        number = len(things) - 1
        if number < grade.gliders:
            things.append(_gliding(look, place, grade.radius, frames, random))
        elif number < grade.gliders + grade.offbeat:
            things.append(_sounding(look, place, grade.radius, rhythm(frames, spec.fps, random), random))
        else:
            things.append(_resting(look, place, grade.radius, frames, grade.rest_opacity, random))
    return Scene(cls, things, on)


def rhythm(frames: int, fps: float, random: np.random.Generator) -> npt.NDArray[np.bool_]:
    """On and off in turn, each for 0.125 to 0.375 s and at least a frame."""
    on = np.zeros(frames, dtype=bool)
    at, state = 0, bool(random.integers(2))
    while at < frames:
        length = max(1, round(fps * random.uniform(0.125, 0.45)))
        on[at : at + length] = state
        at, state = at + length, not state
    if on.all() or not on.any():
        on[: frames // 2] = ~on[: frames // 2]
    return on


def _looks(spec: SoundingObjects, cls: int, count: int, random: np.random.Generator) -> list[int]:
    """All look like sounding classes, and mostly like others than this one's; on hard, the last like this one."""
    others = [k for k in range(spec.classes) if k != cls]
    drawn = [others[i] for i in random.permutation(len(others))]
    looks = [cls] + [drawn[i % len(drawn)] for i in range(count - 1)]
    if spec.grade == "hard":
        looks[-1] = cls
    return looks


def _places(count: int, radius: float, random: np.random.Generator) -> list[tuple[float, float]]:
    """Centres that keep apart; what they keep shrinks when a draw does not fit."""
    edge, apart = radius * 1.35, radius * 2.5
    while True:
        found: list[tuple[float, float]] = []
        for _ in range(60):
            x, y = (float(value) for value in random.uniform(edge, 1 - edge, 2))
            if all((x - a) ** 2 + (y - b) ** 2 > apart**2 for a, b in found):
                found.append((x, y))
            if len(found) == count:
                return found
        apart *= 0.95


def _sounding(
    look: int, place: tuple[float, float], radius: float, on: npt.NDArray[np.bool_], random: np.random.Generator
) -> Thing:
    """Flashes, and hops, grows, spins or shakes as its look does, while `on`."""
    frames = len(on)
    up = on.astype(float)
    beat = np.arange(frames) % 2 * 2.0 - 1.0
    x, y = np.full(frames, place[0]), np.full(frames, place[1])
    size, angle = np.full(frames, radius * random.uniform(0.9, 1.0)), np.zeros(frames)
    match MANNERS[look]:
        case "hop":
            y = y - 0.3 * radius * up
        case "grow":
            size = size * (1 + 0.2 * up)
        case "spin":
            angle = np.cumsum(up) / 12
        case "shake":
            x = x + 0.2 * radius * up * beat
    return Thing(look, x, y, size, angle, UNLIT + (LIT - UNLIT) * up, True)


def _gliding(look: int, place: tuple[float, float], radius: float, frames: int, random: np.random.Generator) -> Thing:
    """Circles and fades without a jump: no beginning that could be heard."""
    turn = random.choice([-1.0, 1.0])
    phase = random.uniform(0, 1) + turn * np.arange(frames) / random.uniform(7, 9)
    fade = random.uniform(0, 1) + np.arange(frames) / random.uniform(5, 6.5)
    return Thing(
        look,
        place[0] + 0.25 * radius * np.cos(2 * np.pi * phase),
        place[1] + 0.25 * radius * np.sin(2 * np.pi * phase),
        np.full(frames, radius * random.uniform(0.9, 1.0)),
        np.zeros(frames),
        (LIT + UNLIT) / 2 + (LIT - UNLIT) / 2 * np.sin(2 * np.pi * fade),
        True,
    )


def _resting(
    look: int, place: tuple[float, float], radius: float, frames: int, opacity: float, random: np.random.Generator
) -> Thing:
    size = radius * random.uniform(0.9, 1.0)
    still = np.ones(frames)
    light = random.choice([UNLIT, LIT])  # as bright as a sounding one at one of its moments
    return Thing(look, place[0] * still, place[1] * still, size * still, 0 * still, light * still, False, opacity)
