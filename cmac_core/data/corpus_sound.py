"""Sounding objects: the sound of a scene.

Each class has a band of its own. Some or all of the other bands carry steady noise of levels drawn for the clip: so
the mean spectrum says little, and what tells the class is which band comes and goes.
"""

import numpy as np
import numpy.typing as npt

from cmac_core.data.corpus_scene import CLASSES, Grade, Scene, rhythm
from cmac_core.data.sound import RATE

LOWEST, HIGHEST = 250.0, 9000.0
RAMP_S = 0.006  # of an onset: no click
FLOOR_DB = -40.0  # outside the bands, and below all of them
LIT_DB = (-6.0, 0.0)  # of the sounding band while it sounds
LOUDNESS = 0.12  # root mean square


def band(cls: int) -> tuple[float, float]:
    """Edges of a class's band in Hz; the bands lie side by side and are equally wide to the ear."""
    edges = np.geomspace(LOWEST, HIGHEST, len(CLASSES) + 1)
    return round(float(edges[cls]), 1), round(float(edges[cls + 1]), 1)


def sound_of(
    scene: Scene, fps: float, grade: Grade, classes: int, random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Mono at 24 kHz in [-1, 1], as long as the scene."""
    samples = round(len(scene.on) / fps * RATE)
    others = np.array([k for k in range(classes) if k != scene.cls])
    steady = np.full(len(CLASSES), FLOOR_DB)
    chosen = random.permutation(others)[: grade.steady_bands]
    # Where few bands are steady these are louder on average, so that the loudest one is mostly a wrong one; where
    # all are, they are around the sounding one's mean, so that it is not the softest.
    steady[chosen] = sum(LIT_DB) / 2 + random.uniform(*grade.steady_db, len(chosen))
    sound = noise(steady, samples, random) + noise(np.full(len(CLASSES) + 1, FLOOR_DB), samples, random)
    changing = [(scene.cls, random.uniform(*LIT_DB), scene.on)]
    for cls in random.permutation(others)[: grade.offbeat_bands]:
        changing.append((cls, random.uniform(*LIT_DB), rhythm(len(scene.on), fps, random)))
    for cls, level, on in changing:
        alone = np.full(len(CLASSES), -np.inf)
        alone[cls] = level
        sound += noise(alone, samples, random) * envelope(on, fps, samples, grade.contrast_db)
    loudness = LOUDNESS * 10 ** (random.uniform(-6, 0) / 20)
    return np.clip(sound * (loudness / np.sqrt(np.mean(sound**2))), -1, 1).astype(np.float32)


def noise(levels_db: npt.NDArray[np.float64], samples: int, random: np.random.Generator) -> npt.NDArray[np.float64]:
    """Noise with a level for each class's band, equally loud at 0 dB; one level more is for all that is outside."""
    frequency = np.fft.rfftfreq(samples, 1 / RATE)
    outside = levels_db[len(CLASSES)] if len(levels_db) > len(CLASSES) else -np.inf
    gain = np.full(len(frequency), 10 ** (outside / 20))
    for cls, level in enumerate(levels_db[: len(CLASSES)]):
        low, high = band(cls)
        # Equal power over bands of unequal width.
        gain[(frequency >= low) & (frequency < high)] = 10 ** (level / 20) * np.sqrt(RATE / 2 / (high - low))
    return np.fft.irfft(np.fft.rfft(random.standard_normal(samples)) * gain, samples)


def envelope(on: npt.NDArray[np.bool_], fps: float, samples: int, contrast_db: float) -> npt.NDArray[np.float64]:
    """1 while on, `contrast_db` less while off, with short ramps behind each change."""
    seconds = np.arange(samples) / RATE
    frame = np.minimum((seconds * fps + 1e-6).astype(int), len(on) - 1)
    level = np.where(on[frame], 1.0, 10 ** (-contrast_db / 20))
    ramp = max(1, round(RAMP_S * RATE))
    sums = np.cumsum(np.concatenate([np.full(ramp, level[0]), level]))
    return (sums[ramp:] - sums[:-ramp]) / ramp
