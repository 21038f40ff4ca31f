"""Files of one clip's attention: numbers, pictures and a film, each announced with what it shows."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from cmac_core.data.dataset import PackedDataset
from cmac_core.evaluation.attention_maps import Attended, Key, correlation
from cmac_core.evaluation.film import FPS, PANES, make_film
from cmac_core.evaluation.overlays import Picture, draw_both, draw_map
from cmac_core.evaluation.showing import Showing
from cmac_core.specs import AudioFrontEnd
from cmac_core.training.run import Run

Scores = dict[Key, dict[str, float]]


@dataclass(frozen=True)
class Press:
    """Writes what a person and a program want to see of a window, below artifacts/attention."""

    run: Run
    dataset: PackedDataset
    showing: Showing
    front_end: AudioFrontEnd

    def publish(self, number: int, attended: Attended, spectrogram: Picture, scores: Scores) -> None:
        """All files of one clip. `spectrogram`: (F, T) in any units; `scores` where the truth is known."""
        folder = Path("artifacts") / "attention" / f"{number:03d}-{slug(attended.clip.id)}"
        (self.run.folder / folder).mkdir(parents=True, exist_ok=True)
        note = f"class {attended.clip.labels['class']}" if "class" in attended.clip.labels else ""
        for key in attended.maps:
            meta = self._meta(attended, key, scores.get(key, {}))
            stem = folder / f"{key[0]}-{key[1]}"
            self._numbers(stem.with_suffix(".npz"), attended, key, meta)
            path = stem.with_suffix(".png")
            draw_map(self.run.folder / path, attended, key, spectrogram, self.front_end, note)
            self._announce(path, "attention_png", "image/png", meta)
        of_clip = {"clip": attended.clip.id, "t0_s": attended.t0, "silent": attended.silent}
        of_clip |= {"modality": "both", "map": "both"}
        draw_both(self.run.folder / folder / "both.png", attended, spectrogram, self.front_end, note)
        self._announce(folder / "both.png", "attention_png", "image/png", of_clip)
        make_film(self.run.folder / folder / "film.mp4", self._smooth(attended), spectrogram, self.showing.sample_rate)
        self._announce(folder / "film.mp4", "attention_mp4", "video/mp4", of_clip | {"panes": PANES})

    def _meta(self, attended: Attended, key: Key, scores: dict[str, float]) -> dict[str, Any]:
        (cells, centers), modality = attended.maps[key], key[0]
        both = [attended.maps[one].cells for one in ((modality, "s"), (modality, "s_hat")) if one in attended.maps]
        return {
            "clip": attended.clip.id,
            "t0_s": attended.t0,
            "modality": key[0],
            "map": key[1],
            "shape": list(cells.shape),
            "centers": [np.round(axis, 5).tolist() for axis in centers],  # of cells, in shares of picture and window
            "range": [float(cells.min()), float(cells.max())],
            "silent": attended.silent,
            "confidence": float(cells.max() - cells.mean()),  # how far the peak stands out
            "agreement": correlation(both[0], both[1]) if len(both) == 2 else None,  # of s and ŝ over cells
            "scores": scores,
        }

    def _numbers(self, path: Path, attended: Attended, key: Key, meta: dict[str, Any]) -> None:
        coordinates = attended.coordinates(key, self.front_end, self.showing.geometry.crop)
        arrays: dict[str, Any] = {name: np.asarray(values, dtype=np.float32) for name, values in coordinates.items()}
        about = {name: np.array(meta[name]) for name in ("clip", "t0_s", "modality", "silent")}
        arrays["map"] = attended.maps[key].cells.astype(np.float32)
        np.savez_compressed(self.run.folder / path, allow_pickle=False, **arrays, **about)
        self._announce(path, "attention_raw", "application/x-npz", meta)

    def _smooth(self, attended: Attended) -> Attended:
        """The same window at the film's frame rate, whatever rate the encoder sees."""
        dense = self.showing.geometry.model_copy(update={"fps": FPS, "frames": max(2, round(attended.seconds * FPS))})
        showing = Showing(dense, attended.seconds, self.showing.sample_rate, video=True, audio=True)
        window = showing.read(self.dataset, attended.clip, [attended.t0])[0]
        return replace(attended, window=window)

    def _announce(self, path: Path, kind: str, media_type: str, meta: dict[str, Any]) -> None:
        name = path.relative_to("artifacts").as_posix()
        self.run.artifact(name, kind, media_type, path, meta)


def slug(text: str) -> str:
    """A clip's id as a file name."""
    return re.sub(r"[^\w.-]+", "_", text)[-80:]
