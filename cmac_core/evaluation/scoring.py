"""Run over the clips whose truth is known, and tally the scores of maps and of their controls (RULINGS 10)."""

from collections.abc import Iterator, Mapping, Sequence

import torch

from cmac_core.data.dataset import PackedDataset, window_bounds
from cmac_core.data.manifest import Clip
from cmac_core.evaluation.attention_maps import Attended, Attender, Key
from cmac_core.evaluation.attention_subject import AttentionSubject
from cmac_core.evaluation.localization import Map
from cmac_core.evaluation.localization_scores import (
    SCORED_FRAMES,
    Tally,
    add_audio,
    add_video,
    audio_target,
    energy_map,
    motion_map,
    sounds,
    strangers,
    video_targets,
)
from cmac_core.evaluation.showing import Preparation, Shown, ahead
from cmac_core.events import Value
from cmac_core.specs import AudioFrontEnd
from cmac_core.training.run import Run

Scores = dict[Key, dict[str, float]]
Batch = tuple[list[Attended], Shown]  # windows, yet without maps, and what the encoders take of them


def batches(dataset: PackedDataset, clips: Sequence[Clip], prepare: Preparation, batch: int) -> Iterator[Batch]:
    """The middle window of each clip, `batch` clips at a time, decoded ahead."""
    showing = prepare.showing

    def decode(clip: Clip) -> Attended:
        t0 = middle(clip, showing.window_s)
        window = showing.read(dataset, clip, [t0])[0]
        return Attended(clip, t0, window, showing.window_s, {}, dataset.truth.get(clip.id))

    waiting: list[Attended] = []
    for attended in ahead(decode, clips):
        waiting.append(attended)
        if len(waiting) == batch:
            yield waiting, prepare([one.window for one in waiting])
            waiting = []
    if waiting:
        yield waiting, prepare([one.window for one in waiting])


def middle(clip: Clip, seconds: float) -> float:
    """Start of the window in the middle of what both streams cover."""
    low, high = window_bounds(clip, seconds, video=True, audio=True)
    return (low + high) / 2


class Referee:
    """Compares maps with the truth, clip by clip; one tally for ours, one for the untrained model."""

    def __init__(self, front_end: AudioFrontEnd, crop: int) -> None:
        self.front_end, self.crop = front_end, crop
        self.ours, self.random = Tally(), Tally()

    def judge(self, tally: Tally, attended: Attended, columns: int, maps: Mapping[str, Map]) -> Scores:
        """Score maps named `video/NAME` and `audio/NAME`. `columns`: of the spectrogram, its frames."""
        truth = attended.truth
        if truth is None or not sounds(truth, attended.t0, attended.seconds):
            return {}
        targets = video_targets(attended, truth, self.crop, SCORED_FRAMES)
        found: Scores = {}
        for full_name, given in maps.items():
            modality, _, name = full_name.partition("/")
            if modality == "video":
                score = add_video(tally, name, given, targets)
            else:
                target = audio_target(attended, truth, self.front_end, given.cells.shape[0], columns)
                score = add_audio(tally, name, given, target)
            if score is not None and score.overlap is not None:
                found[modality, name] = {"pointing": score.pointing, "iou": score.overlap}  # type: ignore[index]
        return found


def score(
    run: Run, dataset: PackedDataset, clips: Sequence[Clip], who: AttentionSubject, batch: int, seed: int
) -> list[Value]:
    """Values of all maps and controls over these clips. Raises Left when asked to."""
    prepare = who.prepare
    referee = Referee(who.pretrain.audio, prepare.showing.geometry.crop)
    untrained = who.ours.with_untrained_heads(seed)
    done = 0
    run.progress("scores", done, len(clips), "clips")
    for windows, shown in batches(dataset, clips, prepare, batch):
        run.leave_if_asked()
        classes = [dataset.truth[one.clip.id].cls for one in windows]
        ours = all_maps(who.ours, shown, classes)
        if untrained is not None:
            heads = untrained.maps(untrained.sees(shown))
            for maps, other in zip(ours, heads, strict=True):
                maps |= {f"{m}/s_hat_untrained_head": one for (m, name), one in other.items() if name == "s_hat"}
        random = ours if who.random is who.ours else all_maps(who.random, shown, classes)
        for i, attended in enumerate(windows):
            frames, spectrogram = _one(shown, i)
            columns = spectrogram.shape[-1]
            controls = {
                "video/motion": motion_map(frames, ours[i]["video/s"].cells.shape),
                "audio/energy": energy_map(spectrogram, ours[i]["audio/s"].cells.shape),
            }
            referee.judge(referee.ours, attended, columns, ours[i] | controls)
            referee.judge(referee.random, attended, columns, random[i])
        done += len(windows)
        run.progress("scores", done, len(clips), "clips")
    return referee.ours.values(referee.random)


def all_maps(attender: Attender, shown: Shown, classes: Sequence[str]) -> list[dict[str, Map]]:
    """Maps of each clip by `modality/name`, with s as guided by a clip of another class beside."""
    seen = attender.sees(shown)
    own = [{"/".join(key): one for key, one in maps.items()} for maps in attender.maps(seen)]
    if len(classes) > 1:
        swapped = attender.maps(seen, strangers(classes))
        names = {"video": "video/s_other_sound", "audio": "audio/s_other_picture"}
        for maps, other in zip(own, swapped, strict=True):
            maps |= {names[modality]: one for (modality, _), one in other.items()}
    return own


def _one(shown: Shown, i: int) -> tuple[torch.Tensor, torch.Tensor]:
    assert shown.frames is not None
    assert shown.spectrogram is not None
    return shown.frames[i], shown.spectrogram[i, 0]
